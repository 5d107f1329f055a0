#include "gradwise/autograd/tensor_facts.h"

#include <ATen/core/grad_mode.h>

#include <cstdio>

namespace gradwise {
namespace {

std::string dtype_name(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return "float32";
    case at::kDouble:
      return "float64";
    case at::kHalf:
      return "float16";
    case at::kBFloat16:
      return "bfloat16";
    default:
      return c10::toString(type);
  }
}

}  // namespace

TensorFacts facts_of(const at::Tensor& tensor) {
  const at::NoGradGuard no_grad;
  TensorFacts facts;
  facts.shape = tensor.sizes().vec();
  facts.dtype = dtype_name(tensor.scalar_type());
  if (!tensor.is_floating_point() || tensor.numel() == 0) {
    return facts;
  }
  const at::Tensor stored = tensor.is_sparse() ? tensor.coalesce()._values() : tensor;
  const at::Tensor values = stored.detach().to(at::kCPU, at::kDouble).reshape({-1});
  facts.nans = values.isnan().sum().item<std::int64_t>();
  facts.infs = values.isinf().sum().item<std::int64_t>();
  const at::Tensor finite = facts.finite() ? values : values.masked_select(values.isfinite());
  if (finite.numel() > 0) {
    facts.min = finite.min().item<double>();
    facts.max = finite.max().item<double>();
  }
  return facts;
}

std::string text_of(const TensorFacts& facts) {
  std::string text = facts.dtype + " ";
  for (std::size_t i = 0; i < facts.shape.size(); ++i) {
    text += (i > 0 ? "x" : "") + std::to_string(facts.shape[i]);
  }
  char range[64];
  std::snprintf(range, sizeof range, "%s, %.3g to %.3g", facts.shape.empty() ? "scalar" : "", facts.min, facts.max);
  text += range;
  if (facts.nans > 0) {
    text += ", " + std::to_string(facts.nans) + " NaN";
  }
  if (facts.infs > 0) {
    text += ", " + std::to_string(facts.infs) + " inf";
  }
  return text;
}

}  // namespace gradwise
