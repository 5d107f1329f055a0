#pragma once

#include "gradwise/core/batch.h"
#include "gradwise/core/reading.h"

namespace gradwise {

/// What a batch and the model's output for it look like. `classes` > 0: integer targets are counted by class, and the
/// output's last dimension is taken for the classes' scores.
[[nodiscard]] BatchReading read_batch(const Batch& batch, const at::Tensor& output, std::int64_t classes);

}  // namespace gradwise
