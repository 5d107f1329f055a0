#include "gradwise/train/gradient_computation.h"

#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/tensor.h>
#include <torch/csrc/autograd/autograd.h>

#include <numeric>

#include "gradwise/core/error.h"
#include "gradwise/core/fields.h"

namespace gradwise {
namespace {

std::vector<std::int64_t> by_all(const Tensors& inputs) {
  std::vector<std::int64_t> argnums(inputs.size());
  std::iota(argnums.begin(), argnums.end(), 0);
  return argnums;
}

double norm_of(const at::Tensor& gradient, double norm_type) {
  const at::Tensor values = gradient.is_sparse() ? gradient.coalesce()._values() : gradient;
  return at::linalg_vector_norm(values, norm_type, std::nullopt, false,
                                values.scalar_type() == at::kDouble ? at::kDouble : at::kFloat)
      .item<double>();
}

}  // namespace

Tensors GradientComputationUtils::gradients(const Tensors& outputs, const Tensors& inputs, const Tensors& grad_outputs,
                                            const GradientsOptions& options) {
  return gradwise::gradients(outputs, inputs, grad_outputs, options);
}

Tensors GradientComputationUtils::jacobian(const TensorFunction& function, const Tensors& inputs, JacobianMode mode,
                                           std::optional<std::int64_t> chunk_size) {
  return gradwise::jacobian(function, {.argnums = by_all(inputs), .mode = mode, .chunk_size = chunk_size})(inputs);
}

Tensors GradientComputationUtils::hessian(const TensorFunction& function, const Tensors& inputs,
                                          std::optional<std::int64_t> chunk_size) {
  return gradwise::hessian(function, {.argnums = by_all(inputs), .chunk_size = chunk_size})(inputs);
}

VectorJacobianProduct GradientComputationUtils::vjp(const TensorFunction& function, const Tensors& inputs,
                                                    const Tensors& cotangents) {
  Vjp found = gradwise::vjp(function, inputs);
  return {std::move(found.outputs), found.pull_back(cotangents)};
}

Jvp GradientComputationUtils::jvp(const TensorFunction& function, const Tensors& inputs, const Tensors& tangents) {
  return gradwise::jvp(function, inputs, tangents);
}

Hvp GradientComputationUtils::hessian_vector_product(const TensorFunction& function, const Tensors& inputs,
                                                     const Tensors& vectors) {
  return gradwise::hvp(function, inputs, vectors);
}

double GradientComputationUtils::gradient_norm(const NamedParameters& parameters, double norm_type) {
  std::vector<double> norms;
  for (const auto& [name, norm] : layer_gradient_norms(parameters, norm_type)) {
    norms.push_back(norm);
  }
  return norms.empty() ? 0 : norm_of(at::tensor(norms, at::kDouble), norm_type);
}

std::vector<std::pair<std::string, double>> GradientComputationUtils::layer_gradient_norms(
    const NamedParameters& parameters, double norm_type) {
  GRADWISE_CHECK(norm_type > 0, "gradient_norm", "norm_type is ", norm_type, ", allowed: > 0");
  std::vector<std::pair<std::string, double>> norms;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor& gradient = parameters.tensors[i].grad();
    if (gradient.defined()) {
      norms.emplace_back(parameters.names[i], norm_of(gradient, norm_type));
    }
  }
  return norms;
}

double GradientComputationUtils::clip_gradients(const NamedParameters& parameters, const ClipOptions& options) {
  check_fields("clip", options);
  Tensors with_gradient;
  Tensors held;
  for (const at::Tensor& parameter : parameters.tensors) {
    if (parameter.grad().defined()) {
      with_gradient.push_back(parameter);
      held.push_back(parameter.grad());
    }
  }
  const double before = global_norm(held).item<double>();
  if (held.empty()) {
    return before;
  }
  if (options.method == "norm") {
    clip_by_norm(held, before, options.max_norm);
  } else if (options.method == "value") {
    clip_by_value(held, options.max_value);
  } else if (options.method == "agc") {
    clip_adaptively(with_gradient, held, options.agc_lambda, options.agc_eps);
  }
  return before;
}

at::Tensor GradientComputationUtils::gradient_penalty(const at::Tensor& output, const at::Tensor& input,
                                                      double target) {
  return gradwise::gradient_penalty(output, input, target);
}

void GradientComputationUtils::accumulate_gradients(const at::Tensor& loss, const NamedParameters& parameters,
                                                    double weight) {
  constexpr auto kPlace = "accumulate_gradients";
  const NamedParameters trainable = parameters.trainable();
  GRADWISE_CHECK(trainable.size() > 0, kPlace, "no parameter asks for a gradient");
  GRADWISE_CHECK(loss.numel() == 1, kPlace, "the loss has ", loss.numel(), " elements, allowed: one");
  GRADWISE_CHECK(loss.requires_grad(), kPlace, "the loss has no graph: it does not depend on any parameter");
  torch::autograd::backward({loss}, {at::scalar_tensor(weight, loss.options()).expand_as(loss)},
                            /*retain_graph=*/std::nullopt, /*create_graph=*/false, trainable.tensors);
}

bool GradientComputationUtils::gradcheck(const TensorFunction& function, const Tensors& inputs,
                                         const GradcheckOptions& options) {
  return gradwise::gradcheck(function, inputs, options);
}

bool GradientComputationUtils::gradgradcheck(const TensorFunction& function, const Tensors& inputs,
                                             const GradcheckOptions& options) {
  return gradwise::gradgradcheck(function, inputs, {}, options);
}

}  // namespace gradwise
