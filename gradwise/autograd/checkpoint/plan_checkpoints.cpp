#include "gradwise/autograd/checkpoint/plan_checkpoints.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones_like.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

#include "gradwise/autograd/checkpoint/surroundings.h"
#include "gradwise/autograd/graph_leaves.h"
#include "gradwise/autograd/memory/peak_memory.h"
#include "gradwise/core/buffer_state.h"
#include "gradwise/core/error.h"
#include "gradwise/core/random_state.h"

namespace gradwise {
namespace {

constexpr auto kMeasured = "plan_checkpoints";

// Times what a device does: an accelerator's work is only queued when a call returns.
class Stopwatch {
 public:
  explicit Stopwatch(at::Device device) : device_(device) {
    wait();
    start_ = std::chrono::steady_clock::now();
  }
  [[nodiscard]] double seconds() const {
    wait();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  void wait() const {
    if (!device_.is_cpu()) {
      c10::impl::VirtualGuardImpl(device_.type()).synchronizeDevice(device_.index());
    }
  }

  at::Device device_;
  std::chrono::steady_clock::time_point start_;
};

// Gives the parameters' gradients back that a measured backward pass has written to.
class GradientsGuard {
 public:
  explicit GradientsGuard(const at::Tensor& output) {
    for (const at::Tensor& leaf : graph_leaves({output})) {
      kept_.emplace_back(leaf, leaf.grad());
      leaf.mutable_grad() = at::Tensor();
    }
  }
  ~GradientsGuard() {
    for (const auto& [leaf, gradient] : kept_) {
      leaf.mutable_grad() = gradient;
    }
  }
  GradientsGuard(const GradientsGuard&) = delete;
  GradientsGuard& operator=(const GradientsGuard&) = delete;

 private:
  std::vector<std::pair<at::Tensor, at::Tensor>> kept_;
};

double median(std::vector<double> values) {
  const auto middle = values.begin() + std::ssize(values) / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

std::int64_t bytes_of(const at::Tensor& tensor) { return static_cast<std::int64_t>(tensor.nbytes()); }

at::Tensor run_stage(const StageFunction& stage, std::size_t index, const at::Tensor& input) {
  at::Tensor output = stage(input);
  GRADWISE_CHECK(output.defined(), kMeasured, "stage ", index, " gave no tensor");
  return output;
}

// Bytes of a stage's result that its own graph does not keep: they are free when backward comes to the stage.
std::int64_t bytes_only_held_outside(const StageFunction& stage, std::size_t index, const at::Tensor& input) {
  const PeakMemory memory;
  at::Tensor output = run_stage(stage, index, input);
  const auto graph = output.grad_fn();
  const std::int64_t with_output = memory.current();
  output.reset();
  return with_output - memory.current();
}

struct MeasuredStage {
  ChainStage figures;
  at::Tensor output;
};

// Times and bytes of a stage. Gradients of parameters lie there already, as in every step but the first: a backward
// pass adds to them.
MeasuredStage measure(const StageFunction& stage, std::size_t index, bool last, const at::Tensor& input,
                      std::int64_t repeats) {
  const bool inner = index > 0;
  const auto fresh = [&] { return inner ? input.detach().requires_grad_() : input.detach(); };
  at::Tensor output = run_stage(stage, index, fresh());
  const at::Tensor weight = at::ones_like(output);
  const at::Device device = detail::device_of_inputs({input, output});
  const GradientsGuard gradients(output);
  if (output.requires_grad()) {
    torch::autograd::backward({output}, {weight});
  }
  output.reset();
  // The caller holds the last result.
  const std::int64_t freed = last ? 0 : bytes_only_held_outside(stage, index, fresh());

  MeasuredStage measured;
  ChainStage& found = measured.figures;
  std::vector<double> forward;
  std::vector<double> backward;
  for (std::int64_t i = 0; i < repeats; ++i) {
    const at::Tensor x = fresh();
    const PeakMemory memory;
    const Stopwatch forward_watch(device);
    const at::Tensor y = run_stage(stage, index, x);
    forward.push_back(forward_watch.seconds());
    found.output_bytes = bytes_of(y);
    // A view has no memory of its own, and is counted as if it had.
    found.saved_bytes = std::max(memory.current(), found.output_bytes);
    found.forward_extra = std::max<std::int64_t>(0, memory.peak() - found.saved_bytes);
    measured.output = y.detach();
    if (!y.requires_grad()) {
      backward.push_back(0);
      continue;
    }
    const PeakMemory in_backward;
    const Stopwatch backward_watch(device);
    torch::autograd::backward({y}, {weight});
    backward.push_back(backward_watch.seconds());
    found.backward_extra = std::max(in_backward.peak() - (inner ? bytes_of(x) : 0) - freed, -found.output_bytes);
  }
  found.forward_seconds = median(std::move(forward));
  found.backward_seconds = median(std::move(backward));
  return measured;
}

// Every checkpoint holds the random state of its forward pass, and one of the time when it runs again.
std::int64_t bytes_of_random_states(std::int64_t stages, at::Device device) {
  std::int64_t bytes = 0;
  for (const auto& [name, tensor] : random_state(device).tensors) {
    bytes += bytes_of(tensor);
  }
  return 2 * stages * bytes;
}

// What the parts of a schedule run; kept by the graph, which may outlive the caller's stages.
using Stages = std::shared_ptr<const std::vector<StageFunction>>;

at::Tensor run_part(const Stages& stages, const std::shared_ptr<const ChainSchedule>& part, const at::Tensor& input,
                    const RecomputeOptions& options) {
  at::Tensor x = input;
  for (const ChainSchedule* now = part.get(); now != nullptr; now = now->rest.get()) {
    if (now->middle == now->first) {
      x = (*stages)[static_cast<std::size_t>(now->first)](x);
    } else {
      x = checkpoint(
          [stages, again = now->again, options](const at::Tensor& in) { return run_part(stages, again, in, options); },
          x, options);
    }
  }
  return x;
}

}  // namespace

CheckpointPlan plan_checkpoints(const std::vector<StageFunction>& stages, const at::Tensor& input,
                                std::int64_t memory_budget, const PlanOptions& options) {
  GRADWISE_CHECK(input.defined(), kMeasured, "the input is undefined");
  GRADWISE_CHECK(options.repeats >= 1, kMeasured, "repeats is ", options.repeats, ", allowed: >= 1");
  CheckpointPlan plan;
  {
    const BufferStateGuard buffers(options.buffers);
    const RandomStateGuard random(input.device());
    const at::AutoGradMode grad_mode(true);
    at::Tensor x = input;
    for (std::size_t i = 0; i < stages.size(); ++i) {
      MeasuredStage stage = measure(stages[i], i, i + 1 == stages.size(), x, options.repeats);
      plan.stages.push_back(stage.figures);
      x = std::move(stage.output);
    }
  }
  const std::int64_t states = bytes_of_random_states(std::ssize(stages), input.device());
  const std::int64_t least = least_chain_budget(plan.stages) + states;
  GRADWISE_CHECK(memory_budget >= least, kMeasured, "no schedule fits into ", memory_budget, " bytes, allowed: about ",
                 least, " bytes or more");
  plan.chain = schedule_chain(plan.stages, memory_budget - states, options.slots);
  plan.chain.peak_bytes += states;
  return plan;
}

at::Tensor checkpoint_planned(const std::vector<StageFunction>& stages, const CheckpointPlan& plan,
                              const at::Tensor& input, const RecomputeOptions& options) {
  GRADWISE_CHECK(stages.size() == plan.stages.size() && plan.chain.schedule != nullptr, "checkpoint_planned",
                 "the plan is for ", plan.stages.size(), " stages, there are ", stages.size());
  return run_part(std::make_shared<const std::vector<StageFunction>>(stages), plan.chain.schedule, input, options);
}

}  // namespace gradwise
