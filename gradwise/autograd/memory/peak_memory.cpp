#include "gradwise/autograd/memory/peak_memory.h"

#include <ATen/record_function.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <torch/csrc/profiler/orchestration/observer.h>

#include <atomic>
#include <optional>
#include <utility>

namespace gradwise {
namespace {

c10::DebugInfoBase* profiler_state() { return c10::ThreadLocalDebugInfo::get(c10::DebugInfoKind::PROFILER_STATE); }

}  // namespace

using torch::profiler::impl::ProfilerConfig;
using torch::profiler::impl::ProfilerState;

// LibTorch takes what is registered here for a profiler's state, so it is one: disabled but for memory.
struct PeakMemory::Counter : torch::profiler::impl::ProfilerStateBase {
  explicit Counter(c10::MemoryReportingInfoBase* outer_scope)
      : ProfilerStateBase(ProfilerConfig(ProfilerState::Disabled, /*report_input_shapes=*/false,
                                         /*profile_memory=*/true)),
        outer(outer_scope) {}

  void reportMemoryUsage(void* pointer, std::int64_t size, std::size_t allocated, std::size_t reserved,
                         c10::Device device) override {
    const std::int64_t now = current.fetch_add(size, std::memory_order_relaxed) + size;
    std::int64_t most = peak.load(std::memory_order_relaxed);
    while (now > most && !peak.compare_exchange_weak(most, now, std::memory_order_relaxed)) {
    }
    if (outer != nullptr) {
      outer->reportMemoryUsage(pointer, size, allocated, reserved, device);
    }
  }

  torch::profiler::impl::ActiveProfilerType profilerType() override {
    return torch::profiler::impl::ActiveProfilerType::NONE;
  }

  c10::MemoryReportingInfoBase* outer;  // outlives this one: scopes nest
  std::atomic<std::int64_t> current = 0;
  std::atomic<std::int64_t> peak = 0;
};

struct PeakMemory::Scope {
  Scope(std::shared_ptr<Counter> counter, bool inside_profiler)
      : guard(c10::DebugInfoKind::PROFILER_STATE, std::move(counter)) {
    if (inside_profiler) {
      no_callbacks.emplace(/*is_enabled=*/false);
    }
  }
  c10::DebugInfoGuard guard;
  std::optional<at::RecordFunctionGuard> no_callbacks;  // a profiler's take the counter for the profiler's own state
};

bool PeakMemory::profiler_runs() {
  c10::DebugInfoBase* state = profiler_state();
  return state != nullptr && dynamic_cast<Counter*>(state) == nullptr;
}

PeakMemory::PeakMemory() {
  auto* outer = dynamic_cast<c10::MemoryReportingInfoBase*>(profiler_state());
  counter_ = std::make_shared<Counter>(outer != nullptr && outer->memoryProfilingEnabled() ? outer : nullptr);
  scope_ = std::make_unique<Scope>(counter_, profiler_runs());
}

PeakMemory::~PeakMemory() = default;

std::int64_t PeakMemory::peak() const { return counter_->peak.load(std::memory_order_relaxed); }

std::int64_t PeakMemory::current() const { return counter_->current.load(std::memory_order_relaxed); }

void PeakMemory::reset_peak() { counter_->peak.store(current(), std::memory_order_relaxed); }

}  // namespace gradwise
