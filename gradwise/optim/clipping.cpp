#include "gradwise/optim/clipping.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_clamp_max.h>
#include <ATen/ops/_foreach_clamp_min.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <iterator>

#include "gradwise/core/error.h"

namespace gradwise {
namespace {

// The values that count: a sparse gradient's entries, each index once.
at::Tensor dense_values(const at::Tensor& gradient) {
  return gradient.is_sparse() ? gradient.coalesce()._values() : gradient;
}

at::Tensor unit_norm(const at::Tensor& tensor) {
  if (tensor.dim() <= 1) {
    return tensor.norm();
  }
  std::vector<std::int64_t> dims;
  for (std::int64_t d = 1; d < tensor.dim(); ++d) {
    dims.push_back(d);
  }
  return tensor.norm(2, dims, /*keepdim=*/true);
}

// In-place operations on a sparse gradient's values would miss duplicates that are still to be summed.
void refuse_sparse(const std::vector<at::Tensor>& gradients, const char* method) {
  for (const at::Tensor& gradient : gradients) {
    GRADWISE_CHECK(!gradient.is_sparse(), "clip", "method \"", method,
                   "\" does not take sparse gradients, allowed for them: norm, none");
  }
}

}  // namespace

at::Tensor global_norm(const std::vector<at::Tensor>& tensors) {
  const at::NoGradGuard no_grad;
  if (tensors.empty()) {
    return at::zeros({});
  }
  std::vector<at::Tensor> dense;
  if (std::ranges::any_of(tensors, [](const at::Tensor& tensor) { return tensor.is_sparse(); })) {
    std::ranges::transform(tensors, std::back_inserter(dense), dense_values);
  }
  const std::vector<at::Tensor>& values = dense.empty() ? tensors : dense;
  // Half-precision sums of squares overflow at norms of 256: sum in float32 or better.
  const at::ScalarType sum_type = values.front().scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  std::vector<at::Tensor> norms = at::_foreach_norm(values, 2, sum_type);
  const at::Device device = norms.front().device();
  for (at::Tensor& norm : norms) {
    if (norm.device() != device) {
      norm = norm.to(device);
    }
  }
  return norms.size() == 1 ? norms.front() : at::stack(norms).norm();
}

bool clip_by_norm(const std::vector<at::Tensor>& gradients, double norm, double max_norm) {
  const at::NoGradGuard no_grad;
  const double coefficient = clip_coefficient(norm, max_norm);
  if (coefficient >= 1.0 || gradients.empty()) {
    return false;
  }
  std::vector<at::Tensor> dense;
  dense.reserve(gradients.size());
  for (const at::Tensor& gradient : gradients) {
    if (gradient.is_sparse()) {
      at::Tensor(gradient).mul_(coefficient);
    } else {
      dense.push_back(gradient);
    }
  }
  if (!dense.empty()) {
    at::_foreach_mul_(dense, coefficient);
  }
  return true;
}

void clip_by_value(const std::vector<at::Tensor>& gradients, double max_value) {
  const at::NoGradGuard no_grad;
  refuse_sparse(gradients, "value");
  at::_foreach_clamp_min_(gradients, -max_value);
  at::_foreach_clamp_max_(gradients, max_value);
}

void clip_adaptively(const std::vector<at::Tensor>& parameters, const std::vector<at::Tensor>& gradients, double lambda,
                     double eps) {
  const at::NoGradGuard no_grad;
  GRADWISE_CHECK(parameters.size() == gradients.size(), "clip", "there are ", gradients.size(), " gradients for ",
                 parameters.size(), " parameters");
  refuse_sparse(gradients, "agc");
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    const at::Tensor& gradient = gradients[i];
    const at::Tensor allowed = unit_norm(parameters[i]).clamp_min(eps).mul(lambda);
    const at::Tensor norm = unit_norm(gradient);
    // A zero gradient has allowed/0 = inf, which the clamp turns into 1.
    gradient.mul_(allowed.div(norm).clamp_max(1.0));
  }
}

}  // namespace gradwise
