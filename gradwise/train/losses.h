#pragma once

#include <string>
#include <vector>

#include "gradwise/core/batch.h"

namespace gradwise {

/// cross_entropy, mse, mae, huber, binary_cross_entropy.
[[nodiscard]] const std::vector<std::string>& loss_names();

/// A loss by name, mean over the samples. cross_entropy: logits (B, C, ...) with class indices (B, ...), as LibTorch
/// has them, `label_smoothing` from 0 to 1; binary_cross_entropy takes logits; the regression losses reshape a target
/// (B) to an output (B, 1).
[[nodiscard]] LossFunction make_loss(const std::string& name, double label_smoothing = 0);

}  // namespace gradwise
