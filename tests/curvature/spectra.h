#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/diag.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_qr.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/randn.h>

#include <cstdint>
#include <string>
#include <tuple>

#include "gradwise/core/random_state.h"

namespace gradwise {

inline constexpr std::int64_t kSize = 120;

/// Section 4 of the XTrace paper: eigenvalues from flat to steeply falling.
inline at::Tensor spectrum(const std::string& name) {
  const at::Tensor i = at::arange(1, kSize + 1, at::kDouble);
  if (name == "flat") {
    return at::linspace(3, 1, kSize, at::kDouble);
  }
  if (name == "poly") {
    return i.pow(-2);
  }
  if (name == "exp") {
    return at::pow(0.7, i);
  }
  if (name == "slow exp") {
    return at::pow(0.9, i);
  }
  return at::cat({at::ones({20}, at::kDouble), at::full({kSize - 20}, 1e-3, at::kDouble)});  // step
}

inline at::Tensor with_eigenvalues(const at::Tensor& values) {
  seed_everything(17);
  const at::Tensor q = std::get<0>(at::linalg_qr(at::randn({kSize, kSize}, at::kDouble)));
  return q.matmul(at::diag(values)).matmul(q.t());
}

}  // namespace gradwise
