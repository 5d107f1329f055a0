#include "gradwise/curvature/likelihood.h"

#include <ATen/ops/scatter.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/special_ndtri.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>
#include <limits>

#include "gradwise/core/error.h"
#include "gradwise/core/nearest_name.h"

namespace gradwise {

Likelihood Likelihood::of_loss(const std::string& loss) {
  if (loss == "cross_entropy") {
    return {Kind::categorical};
  }
  if (loss == "binary_cross_entropy") {
    return {Kind::bernoulli};
  }
  if (loss == "mse") {
    return {Kind::normal};
  }
  fail_usage("fisher", "the loss \"", loss, "\" stands for no distribution that is known, allowed: ",
             "cross_entropy, binary_cross_entropy, mse; the empirical Fisher matrix takes any loss",
             did_you_mean(loss, {"cross_entropy", "binary_cross_entropy", "mse"}));
}

std::int64_t Likelihood::terms(const at::Tensor& output) const {
  return kind == Kind::categorical ? output.numel() / output.size(1) : output.numel();
}

at::DimVector Likelihood::draw_shape(const at::Tensor& output) const {
  at::DimVector shape(output.sizes());
  if (kind == Kind::categorical) {
    shape[1] = 1;
  }
  return shape;
}

at::Tensor Likelihood::fisher_times(const at::Tensor& output, const at::Tensor& vector) const {
  switch (kind) {
    case Kind::categorical: {  // (diag(p) - p pᵀ) u
      const at::Tensor p = at::softmax(output, 1);
      const at::Tensor p_u = p.mul(vector);
      return p_u.sub(p.mul(p_u.sum(1, /*keepdim=*/true)));
    }
    case Kind::bernoulli: {
      const at::Tensor p = at::sigmoid(output);
      return p.sub(p.square()).mul(vector);
    }
    case Kind::normal:
      break;
  }
  return vector.mul(2);
}

at::Tensor Likelihood::drawn_scores(const at::Tensor& output, const at::Tensor& uniform) const {
  switch (kind) {
    case Kind::categorical: {
      const at::Tensor p = at::softmax(output, 1);
      // Rounding may leave the last sum below 1.
      const at::Tensor y = p.to(at::kDouble).cumsum(1).le(uniform).sum(1, /*keepdim=*/true).clamp_max(p.size(1) - 1);
      return p.sub(at::scatter(at::zeros_like(p), 1, y, 1));
    }
    case Kind::bernoulli: {
      const at::Tensor p = at::sigmoid(output);
      return p.sub(uniform.lt(p).to(p.scalar_type()));
    }
    case Kind::normal:
      break;
  }
  // 2 (f - y), with f - y of variance 1/2.
  const at::Tensor normal = at::special_ndtri(uniform.clamp_min(std::numeric_limits<double>::min()));
  return normal.mul(std::sqrt(2.0)).to(output.scalar_type());
}

}  // namespace gradwise
