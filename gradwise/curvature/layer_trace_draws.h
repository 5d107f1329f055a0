#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "gradwise/core/named_parameters.h"

namespace gradwise {

/// `count` independent random figures whose mean is the trace of a loss's Hessian over the parameters.
///
/// Where a parameter goes into the output z_n of an operator for each sample n, z_n = W a_n + b, and samples do not
/// meet in the loss, the trace of its block is the sum over samples of (|a_n|^2 + 1) tr(H_n), with H_n the Hessian of
/// the loss by z_n. A figure is u'Hu for the Hessian H by all such outputs together, with u_n = sqrt(|a_n|^2 + 1) times
/// random signs: each sample has signs of its own, and what the loss's second derivative by a single output adds has no
/// variance. A random sign for each parameter (Hutchinson) has the same mean, and what all pairs of parameters of a
/// layer have in common in its variance. A figure is a backward pass through the gradients of the outputs, in which no
/// gradient of a parameter is made.
///
/// Errors: a parameter that is used twice, or by an operator that does not give a row for each sample (a convolution,
/// attention); samples that meet in the loss, looked at in the first figure, which takes two passes for it: the Hessian
/// between a random half of the samples and the others is not zero. Where only some of them meet, a half may miss it.
/// Of kind failure: a product that is not finite, looked at in the first figure too.
[[nodiscard]] std::vector<double> layer_trace_draws(const at::Tensor& loss, const NamedParameters& parameters,
                                                    std::int64_t samples, std::int64_t count, at::Generator& generator);

}  // namespace gradwise
