#include "gradwise/curvature/lanczos_recurrence.h"

#include <ATen/ops/full_like.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "gradwise/curvature/random_vectors.h"
#include "gradwise/curvature/rounding.h"

namespace gradwise {
namespace {

constexpr double kWellApart = 0.05;  // a new vector this long beside the matrix is at right angles but for rounding

}  // namespace

LanczosRecurrence::LanczosRecurrence(const LinearOperator& matrix, std::int64_t steps, std::int64_t seed)
    : most_(std::min(steps, matrix.size())) {
  q_ = RandomVectors(matrix, seed).on_sphere(1).select(1, 0);
  q_ = q_.div(q_.norm()).to(basis_options(matrix));
}

at::Tensor LanczosRecurrence::left_of(const at::Tensor& product) {
  at::Tensor left = product.to(q_.scalar_type());
  magnitude_ = std::max(magnitude_, left.norm().item<double>());
  alpha_.push_back(q_.dot(left).item<double>());
  left = left.sub(q_, alpha_.back());
  return before_.defined() ? left.sub_(before_, beta_.back()) : left;
}

void LanczosRecurrence::advance(const at::Tensor& left, double length, double exhausted) {
  beta_.push_back(length);
  over_ = length <= exhausted * magnitude_ || steps() == most_;
  if (!over_) {
    before_ = q_;
    q_ = left.div(length);
  }
}

void LanczosRecurrence::advance(const LinearOperator& matrix, const at::Tensor& product) {
  if (steps() == 1 && beta_.front() > kWellApart * magnitude_) {
    const at::Tensor back = before_.dot(product.to(before_.scalar_type()));
    check_symmetric("lanczos", matrix, back, at::full_like(back, beta_.front()), magnitude_);
  }
  const at::Tensor left = left_of(product);
  advance(left, left.norm().item<double>(), std::max(kExhausted, rounding_share(matrix)));
}

LanczosResult LanczosRecurrence::ritz_values() const {
  const std::int64_t n = steps();
  const at::Tensor t = at::zeros({n, n}, at::kDouble);
  auto entries = t.accessor<double, 2>();
  for (std::int64_t i = 0; i < n; ++i) {
    entries[i][i] = alpha_[static_cast<std::size_t>(i)];
    if (i + 1 < n) {
      entries[i][i + 1] = entries[i + 1][i] = beta_[static_cast<std::size_t>(i)];
    }
  }
  const auto [values, vectors] = at::linalg_eigh(t);
  const at::Tensor columns = vectors.contiguous();
  const auto value = values.accessor<double, 1>();
  const auto column = columns.accessor<double, 2>();
  LanczosResult result;
  for (std::int64_t i = n - 1; i >= 0; --i) {
    result.values.push_back(value[i]);
    result.errors.push_back(std::abs(beta_.back() * column[n - 1][i]));
    result.weights.push_back(column[0][i] * column[0][i]);
  }
  result.products = n;
  return result;
}

}  // namespace gradwise
