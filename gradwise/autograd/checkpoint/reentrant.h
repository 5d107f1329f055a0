#pragma once

#include "gradwise/autograd/checkpoint/checkpoint.h"

namespace gradwise::detail {

[[nodiscard]] Tensors checkpoint_reentrant(TensorFunction function, const Tensors& inputs,
                                           const RecomputeOptions& options);

}  // namespace gradwise::detail
