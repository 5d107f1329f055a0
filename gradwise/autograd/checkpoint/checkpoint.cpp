#include "gradwise/autograd/checkpoint/checkpoint.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/graph_task.h>
#include <torch/csrc/autograd/saved_variable.h>

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <utility>

#include "gradwise/autograd/checkpoint/reentrant.h"
#include "gradwise/autograd/checkpoint/surroundings.h"
#include "gradwise/autograd/memory/saved_tensor_hooks.h"
#include "gradwise/autograd/transforms/layer.h"
#include "gradwise/core/error.h"

namespace gradwise {
namespace {

constexpr auto kCheckpoint = "checkpoint";
constexpr int kOutside = -1;  // in place of a graph task: someone looks at a saved tensor outside of backward

struct Facts {
  at::DimVector sizes;
  at::ScalarType type;
  at::Device device;

  explicit Facts(const at::Tensor& tensor)
      : sizes(tensor.sizes()), type(tensor.scalar_type()), device(tensor.device()) {}
  bool operator==(const Facts&) const = default;
  friend std::ostream& operator<<(std::ostream& out, const Facts& facts) {
    return out << facts.type << ' ' << at::IntArrayRef(facts.sizes) << " on " << facts.device;
  }
};

// Stands for one saved tensor; by graph task, for each backward pass has its own recomputation.
struct Holder {
  std::map<int, at::Tensor> recomputed;
};

class Frame;
// The frame that this thread has looked into outside of backward: what was made again waits there for the next look.
thread_local std::weak_ptr<Frame> looked_into;

// One call of checkpoint: what is needed to run it again, and the tensors that its graph asks for.
class Frame : public std::enable_shared_from_this<Frame> {
 public:
  Frame(TensorFunction function, const Tensors& inputs, const RecomputeOptions& options)
      : function_(std::move(function)),
        options_(options),
        surroundings_(detail::device_of_inputs(inputs), options.preserve_random_state) {
    // Kept as an operator keeps them, so that a checkpoint around this one drops them too.
    for (const at::Tensor& input : inputs) {
      inputs_.emplace_back(input, /*is_output=*/false);
    }
  }

  Tensors run(const Tensors& inputs) {
    const std::shared_ptr<Frame> self = shared_from_this();
    const SavedTensorHooks hooks([self](const at::Tensor& tensor) -> UnpackSaved {
      auto holder = std::make_shared<Holder>();
      self->holders_.push_back(holder);
      self->facts_.emplace_back(tensor);
      return [self, holder] { return self->tensor_of(*holder); };
    });
    return function_(inputs);
  }

 private:
  at::Tensor tensor_of(Holder& holder) {
    const int task = std::max(kOutside, torch::autograd::get_current_graph_task_id());
    turn_to(task);
    const std::lock_guard lock(mutex_);
    if (!holder.recomputed.contains(task)) {
      GRADWISE_CHECK(!done_.contains(task), kCheckpoint, "a saved tensor is asked for twice in one backward pass");
      forget_after(task);
      recompute(task);
      turn_to(task);  // recomputing may have looked into the frame around this one
    }
    const auto found = holder.recomputed.find(task);
    if (found == holder.recomputed.end()) {
      fail(kCheckpoint, "a tensor that backward needs was not made when the function ran again");
    }
    at::Tensor tensor = std::move(found->second);
    holder.recomputed.erase(found);
    return tensor;
  }

  // What a look from outside has made again goes when its thread turns to another frame, or to backward.
  void turn_to(int task) {
    const std::shared_ptr<Frame> before = looked_into.lock();
    if (before && (task != kOutside || before.get() != this)) {
      before->forget(kOutside);
    }
    looked_into = task == kOutside ? weak_from_this() : std::weak_ptr<Frame>();
  }

  // A backward pass that reaches a part of the function leaves tensors that nobody asks for.
  void forget_after(int task) {
    if (task != kOutside) {
      torch::autograd::Engine::get_default_engine().queue_callback([frame = weak_from_this(), task] {
        if (const std::shared_ptr<Frame> self = frame.lock()) {
          self->forget(task);
        }
      });
    }
  }

  void forget(int task) {
    const std::lock_guard lock(mutex_);
    for (const std::weak_ptr<Holder>& held : holders_) {
      if (const std::shared_ptr<Holder> holder = held.lock()) {
        holder->recomputed.erase(task);
      }
    }
    done_.erase(task);
  }

  void recompute(int task) {
    Tensors inputs;
    for (const torch::autograd::SavedVariable& input : inputs_) {
      inputs.push_back(input.unpack());
    }
    std::size_t made = 0;
    const std::size_t needed = holders_.size();
    {
      const detail::Surroundings::Scope surroundings(surroundings_);
      const at::AutoGradMode grad_mode(true);
      const SavedTensorHooks hooks([&](const at::Tensor& tensor) -> UnpackSaved {
        take(made++, tensor, task);
        if (options_.early_stop && made == needed) {
          throw detail::RecomputationDone();
        }
        return [tensor] { return tensor; };
      });
      try {
        (void)function_(inputs);
      } catch (const detail::RecomputationDone&) {
      }
    }
    if (options_.determinism_check && made != needed) {
      fail(kCheckpoint, "the forward pass saved ", needed, " tensors and the recomputation ", made,
           ": the function must do the same each time");
    }
    if (task != kOutside) {
      done_.insert(task);
    }
  }

  void take(std::size_t index, const at::Tensor& tensor, int task) {
    if (index >= holders_.size()) {
      return;  // counted, and told of at the end
    }
    if (options_.determinism_check && !(Facts(tensor) == facts_[index])) {
      fail(kCheckpoint, "saved tensor ", index, " was ", facts_[index], " in the forward pass and is ", Facts(tensor),
           " when it is recomputed: the function must do the same each time");
    }
    if (const std::shared_ptr<Holder> holder = holders_[index].lock()) {
      holder->recomputed[task] = tensor.detach();
    }
  }

  TensorFunction function_;
  RecomputeOptions options_;
  detail::Surroundings surroundings_;
  std::vector<torch::autograd::SavedVariable> inputs_;
  std::vector<std::weak_ptr<Holder>> holders_;  // in the order in which they were saved
  std::vector<Facts> facts_;
  std::recursive_mutex mutex_;  // backward of the recomputed part may come back here
  std::set<int> done_;          // graph tasks that the function ran again for
};

}  // namespace

Tensors checkpoint(TensorFunction function, const Tensors& inputs, const RecomputeOptions& options) {
  GRADWISE_CHECK(function != nullptr, kCheckpoint, "there is no function");
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    GRADWISE_CHECK(inputs[i].defined(), kCheckpoint, "input ", i, " is undefined");
  }
  // Inside of a transform every layer has a graph of its own, whose saved tensors do not go through the hooks.
  if (!at::GradMode::is_enabled() || inside_transform()) {
    return function(inputs);
  }
  if (options.reentrant) {
    return detail::checkpoint_reentrant(std::move(function), inputs, options);
  }
  return std::make_shared<Frame>(std::move(function), inputs, options)->run(inputs);
}

at::Tensor checkpoint(std::function<at::Tensor(const at::Tensor&)> function, const at::Tensor& input,
                      const RecomputeOptions& options) {
  GRADWISE_CHECK(function != nullptr, kCheckpoint, "there is no function");
  return checkpoint([function = std::move(function)](const Tensors& in) { return Tensors{function(in[0])}; },
                    Tensors{input}, options)
      .front();
}

at::Tensor checkpoint_sequential(const std::vector<StageFunction>& stages, std::int64_t segments,
                                 const at::Tensor& input, const RecomputeOptions& options) {
  const auto count = std::ssize(stages);
  GRADWISE_CHECK(segments >= 1 && segments <= count, "checkpoint_sequential", "segments is ", segments,
                 ", allowed: between 1 and the number of stages, ", count);
  const std::int64_t length = count / segments;
  at::Tensor x = input;
  for (std::int64_t segment = 0; segment < segments; ++segment) {
    const std::int64_t first = segment * length;
    const std::int64_t last = segment + 1 == segments ? count : first + length;
    // A copy: backward may run after the caller's stages are gone.
    const auto part =
        [own = std::vector<StageFunction>(stages.begin() + first, stages.begin() + last)](const at::Tensor& start) {
          at::Tensor y = start;
          for (const StageFunction& stage : own) {
            y = stage(y);
          }
          return y;
        };
    x = segment + 1 == segments ? part(x) : checkpoint(part, x, options);
  }
  return x;
}

}  // namespace gradwise
