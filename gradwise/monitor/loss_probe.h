#pragma once

#include <optional>

#include "gradwise/core/batch.h"
#include "gradwise/core/model.h"
#include "gradwise/core/state.h"
#include "gradwise/core/step_info.h"

namespace gradwise {

/// What an update has done to the loss of its own batch: one more forward pass after it, of the step's last
/// micro-batch, with the same dropout masks. Buffers and the random state stay as they were.
class LossProbe {
 public:
  LossProbe(Model model, LossFunction loss_function);

  /// Before the forward pass of a step that is to be probed: keeps the random state of the batch's device.
  void begin(const Batch& batch);

  /// After it. Does nothing in a step without `begin`.
  void take(const Batch& batch, const at::Tensor& loss);

  /// After the update: the step's loss as it would be now; NaN in a step that is not probed, or was skipped.
  [[nodiscard]] double finish(const StepInfo& step);

 private:
  Model model_;
  LossFunction loss_function_;
  std::optional<State> random_before_;  // where a probe is under way: as the forward pass found it
  Batch batch_;
  double loss_ = 0;
};

}  // namespace gradwise
