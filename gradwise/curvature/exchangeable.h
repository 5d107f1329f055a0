#pragma once

#include <ATen/core/Tensor.h>

#include "gradwise/curvature/estimate.h"

namespace gradwise {

/// The mean of samples that share their vectors, with a standard error that knows it. Sample i, t_i, takes vector i to
/// sample what the basis from all other vectors leaves, as XTrace does; `without` (k, k) holds in row j, column i what
/// sample i would be had vector j never been drawn, t_i^(j).
///
/// Given all vectors but i and j, t_i^(j) and t_j^(i) are independent, and each t_i - t_i^(j) is of mean 0 given vector
/// j. So Cov(t_i, t_j) = E[(t_i - t_i^(j)) (t_j - t_j^(i))], whose mean over the pairs is an unbiased estimate C of it;
/// and Var(mean) = E[s^2/k + C] with s^2 the variance of the samples. The papers' s^2/k alone misses C, which is most
/// of the variance where the spectrum falls steeply. A negative C is taken for 0. `degrees` are Satterthwaite's ("An
/// Approximate Distribution of Estimates of Variance Components", 1946) from what each vector adds to that variance: k
/// - 1 at most, and few where few vectors make it.
[[nodiscard]] Estimate exchangeable_mean(const at::Tensor& samples, const at::Tensor& without, std::int64_t products);

/// 1 - g^2 for the cosines g (k, k) of pairs, and 1 on the diagonal, which is no pair.
[[nodiscard]] at::Tensor pair_determinant(const at::Tensor& cosines);

}  // namespace gradwise
