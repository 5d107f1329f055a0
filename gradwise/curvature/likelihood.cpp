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

void Likelihood::check_output(const char* place, const at::Tensor& output, std::int64_t samples) const {
  GRADWISE_CHECK(output.dim() > 0 && output.size(0) == samples, place, "the model's output has the shape ",
                 output.sizes(), ", allowed: the ", samples, " samples of the mini-batch along dimension 0");
  GRADWISE_CHECK(kind != Kind::categorical || output.dim() > 1, place, "the model's output has the shape ",
                 output.sizes(), ", allowed for cross_entropy: [samples, classes, ", "...]");
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

at::Tensor Likelihood::root_column(const at::Tensor& output, std::int64_t index) const {
  const std::int64_t n = output.size(0);
  at::Tensor column = at::zeros_like(output, at::MemoryFormat::Contiguous);
  switch (kind) {
    case Kind::categorical: {  // √p_c (e_c - p), at one position
      const at::Tensor p = at::softmax(output, 1).reshape({n, output.size(1), -1});
      const std::int64_t c = index / p.size(2);
      const std::int64_t position = index % p.size(2);
      const at::Tensor at_position = p.select(2, position);
      const at::Tensor root = at_position.select(1, c).sqrt();
      const at::Tensor entries = column.view(p.sizes()).select(2, position);
      entries.sub_(at_position.mul(root.unsqueeze(1)));
      entries.select(1, c).add_(root);
      return column;
    }
    case Kind::bernoulli: {
      const at::Tensor p = at::sigmoid(output).reshape({n, -1}).select(1, index);
      column.view({n, -1}).select(1, index).copy_(p.sub(p.square()).sqrt());
      return column;
    }
    case Kind::normal:
      break;
  }
  column.view({n, -1}).select(1, index).fill_(std::sqrt(2.0));
  return column;
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
