#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gradwise/core/named_parameters.h"
#include "gradwise/core/state.h"
#include "gradwise/core/step_info.h"

namespace gradwise {

class FusedOptimizer;

/// How the gradients are kept in bounds when their global norm is not known yet.
enum class BackwardClip {
  none,
  tensor,       ///< each tensor's gradient to `max_norm` by itself
  running_norm  ///< all by max_norm / (mean norm of the steps before), where that is below 1; the first step as
                ///< `tensor`
};

struct BackwardUpdateOptions {
  BackwardClip clip = BackwardClip::running_norm;
  double max_norm = 1.0;
  double norm_decay = 0.9;  ///< of the running mean of the global norm
};

/// Updates each parameter in the backward pass, as soon as its gradient is there, and frees the gradient: never are the
/// gradients of more than one parameter in memory (as PyTorch's tutorial "How to save memory by fusing the optimizer
/// step into the backward pass" does in Python). One backward pass is one step.
///
///   BackwardUpdate in_backward(optimizer, model.parameters);
///   loss.backward();                                  // the weights have moved
///   const StepInfo done = in_backward.finish_step();
///
/// A gradient that is not finite leaves its own parameter as it was; others may have moved by then. A later parameter
/// of the pass sees the graph's saved tensors, which its update does not change: those of other parameters that
/// backward still needs are saved by the graph, so a parameter that is used twice in one graph must not be updated
/// between; such a write is an error of autograd's. On the CPU alone. A Watch that is to read the gradients is attached
/// before, or `run_last` called after. AutogradOptimizer does all of this under its option `in_backward`.
class BackwardUpdate {
 public:
  /// `optimizer` holds all of the parameters that ask for a gradient, and outlives this.
  BackwardUpdate(FusedOptimizer& optimizer, const NamedParameters& parameters, BackwardUpdateOptions options = {});
  /// Takes the hooks away.
  ~BackwardUpdate();
  BackwardUpdate(const BackwardUpdate&) = delete;
  BackwardUpdate& operator=(const BackwardUpdate&) = delete;

  /// Makes its hooks the last to run, behind those of whoever came since (a Watch that is to read the gradients).
  /// Before a backward pass.
  void run_last();
  /// What the backward pass since the last call did: norms, whether it clipped, an issue for each gradient that was not
  /// finite. `skipped` where that was every one.
  StepInfo finish_step();
  /// Names of the parameters that had no gradient in the last step.
  [[nodiscard]] const std::vector<std::string>& without_gradient() const;

  /// The running norm and the number of steps.
  [[nodiscard]] State state() const;
  void load_state(const State& state);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace gradwise
