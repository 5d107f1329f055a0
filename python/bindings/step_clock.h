#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "gradwise/core/step_info.h"

namespace gradwise::python {

/// Samples and wall times of a step that a loop of the user's makes, told by hooks on its model and optimizer. What
/// lies between a forward pass and the optimizer's step, or the next forward pass of the same step, counts as backward:
/// the loss function is in it. On a device other than the CPU the times are those of handing out the work.
class StepClock {
 public:
  void forward_start(std::int64_t samples);
  void forward_end();
  void backward_end() { to_backward(Clock::now()); }
  void update_start() { update_began_ = Clock::now(); }
  void update_end();
  /// The loop has validated, say: the wait for the next batch begins anew.
  void elsewhere();
  /// Writes the step's `samples`, `micro_batches` and `seconds`, 0 what was not seen, and begins the next step.
  void take(StepInfo& step);

 private:
  using Clock = std::chrono::steady_clock;
  using Time = std::optional<Clock::time_point>;

  void to_backward(Clock::time_point now);

  Time step_began_;  // the end of the step before, where there was one
  Time forward_began_;
  Time forward_ended_;
  Time update_began_;
  std::int64_t samples_ = 0;
  std::int64_t micro_batches_ = 0;
  StepTimes seconds_;
};

}  // namespace gradwise::python
