#pragma once

namespace gradwise {

/// A second base of an optimizer that is not LibTorch's own and whose `step` evaluates the loss, through its closure.
class ClosureDriven {
 public:
  virtual ~ClosureDriven() = default;
  /// Drops what evaluations have taught it: one was not finite, and the weights are back where the step began.
  virtual void forget_evaluations() = 0;
};

}  // namespace gradwise
