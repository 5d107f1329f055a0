#pragma once

#include "gradwise/autograd/functions/tensor_function.h"

namespace gradwise {

/// Matrix product with a backward of its own, and the model of how to write a custom function: see
/// docs/how-to/custom-functions.md.
///
///   const at::Tensor y = CustomAutogradFunction::apply(input_tensor, weight);
///
/// `input_tensor` (..., m, k), `weight` (k, n) or (..., k, n); the result (..., m, n), leading dimensions broadcast as
/// in `at::matmul`. Any floating type, one device; under autocast in its type, as `at::matmul`, with gradients of each
/// input's own type. Computes only the gradients that are asked for, and can be differentiated any number of times.
///
/// Errors: fewer than two dimensions, inner sizes that differ, types that differ or are not floating.
class CustomAutogradFunction {
 public:
  [[nodiscard]] static at::Tensor apply(const at::Tensor& input_tensor, const at::Tensor& weight);
};

/// max(x, 0) of any shape and floating type; the derivative at 0 is 0, as in LibTorch. Error: an input that is not
/// floating.
[[nodiscard]] at::Tensor custom_relu(const at::Tensor& input);

/// x where x > 0, else `negative_slope` * x; shapes, types and errors as of custom_relu.
[[nodiscard]] at::Tensor custom_leaky_relu(const at::Tensor& input, double negative_slope = 0.01);

/// An activation of the user's own: its value and its derivative, each from x to a tensor of the same shape, written
/// with operators that LibTorch can differentiate (the derivative is differentiated for second order).
struct Activation {
  std::function<at::Tensor(const at::Tensor&)> value;
  std::function<at::Tensor(const at::Tensor&)> derivative;
};

///   const Activation softsign{[](const at::Tensor& x) { return x.div(x.abs().add(1)); },
///                             [](const at::Tensor& x) { return x.abs().add(1).pow(-2); }};
///   y = custom_activation(x, softsign);
///
/// Errors: an input that is not floating, an activation that lacks one of the two; in backward, a derivative of another
/// shape than the input.
[[nodiscard]] at::Tensor custom_activation(const at::Tensor& input, const Activation& activation);

/// input · weightᵀ + bias: input (..., in), weight (out, in), bias (out) or undefined; of one floating type, or of any
/// but float64 under autocast. Errors: shapes that do not fit, types that differ or are not floating.
[[nodiscard]] at::Tensor custom_linear(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias = {});

}  // namespace gradwise
