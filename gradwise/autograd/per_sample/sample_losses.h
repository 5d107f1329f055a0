#pragma once

#include "gradwise/core/batch.h"

namespace gradwise {

/// The loss of one sample, a scalar. Error: several elements.
[[nodiscard]] at::Tensor loss_of_one(const LossFunction& loss_function, const at::Tensor& output,
                                     const at::Tensor& target);

/// The loss of each sample (samples), with its graph: `loss_function` is given every sample as a batch of one, so that
/// its reduction plays no part, as in `torch.func.vmap`. All samples at once by vmap; one after the other where the
/// loss can't be gone over so, which `by_loop` then says, and is spared the attempt next time.
///
/// `target`: with as many rows, or undefined. Errors: the output has not one row a sample; a loss of several elements;
/// a loss without a graph.
[[nodiscard]] at::Tensor sample_losses(const LossFunction& loss_function, const at::Tensor& output,
                                       const at::Tensor& target, std::int64_t samples, bool& by_loop);

}  // namespace gradwise
