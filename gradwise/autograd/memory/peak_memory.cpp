#include "gradwise/autograd/memory/peak_memory.h"

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <torch/csrc/profiler/orchestration/observer.h>

#include <atomic>
#include <utility>

namespace gradwise {

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
  explicit Scope(std::shared_ptr<Counter> counter) : guard(c10::DebugInfoKind::PROFILER_STATE, std::move(counter)) {}
  c10::DebugInfoGuard guard;
};

PeakMemory::PeakMemory() {
  auto* outer =
      dynamic_cast<c10::MemoryReportingInfoBase*>(c10::ThreadLocalDebugInfo::get(c10::DebugInfoKind::PROFILER_STATE));
  counter_ = std::make_shared<Counter>(outer != nullptr && outer->memoryProfilingEnabled() ? outer : nullptr);
  scope_ = std::make_unique<Scope>(counter_);
}

PeakMemory::~PeakMemory() = default;

std::int64_t PeakMemory::peak() const { return counter_->peak.load(std::memory_order_relaxed); }

std::int64_t PeakMemory::current() const { return counter_->current.load(std::memory_order_relaxed); }

void PeakMemory::reset_peak() { counter_->peak.store(current(), std::memory_order_relaxed); }

}  // namespace gradwise
