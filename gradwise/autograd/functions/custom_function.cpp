#include "gradwise/autograd/functions/custom_function.h"

#include <ATen/core/grad_mode.h>
#include <ATen/core/ivalue.h>
#include <ATen/ops/leaky_relu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

#include <optional>

#include "gradwise/autograd/functions/autocast_input.h"
#include "gradwise/autograd/transforms/layer.h"
#include "gradwise/core/error.h"

namespace gradwise {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

void check_floating(const char* place, const char* name, const at::Tensor& tensor) {
  GRADWISE_CHECK(tensor.defined(), place, name, " is undefined");
  GRADWISE_CHECK(tensor.is_floating_point(), place, name, " has the type ", tensor.scalar_type(),
                 ", allowed: floating types");
}

// The vectors along the last dimension as the rows of one matrix; an empty tensor has its rows too.
at::Tensor as_rows(const at::Tensor& tensor) { return tensor.dim() == 1 ? tensor.unsqueeze(0) : tensor.flatten(0, -2); }

class MatrixProduct : public Function<MatrixProduct> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input, const at::Tensor& weight) {
    context->save_for_backward({input, weight});
    return at::matmul(input, weight);
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& input = saved[0];
    const at::Tensor& weight = saved[1];
    at::Tensor grad_input;
    at::Tensor grad_weight;
    if (context->needs_input_grad(0)) {
      grad_input = at::matmul(grads[0], weight.transpose(-2, -1)).sum_to_size(input.sizes());
    }
    if (context->needs_input_grad(1)) {
      // One product of tall matrices beats a product a batch that is summed afterwards.
      grad_weight = weight.dim() == 2 ? at::matmul(as_rows(input).t(), as_rows(grads[0]))
                                      : at::matmul(input.transpose(-2, -1), grads[0]).sum_to_size(weight.sizes());
    }
    return {grad_input, grad_weight};
  }
};

class LeakyReLU : public Function<LeakyReLU> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input, double negative_slope) {
    context->save_for_backward({input});
    context->saved_data["slope"] = negative_slope;
    return negative_slope == 0 ? at::relu(input) : at::leaky_relu(input, negative_slope);
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const at::Tensor input = context->get_saved_variables()[0];
    const double slope = context->saved_data["slope"].toDouble();
    // An infinite gradient times a slope of 0 is no 0.
    const at::Tensor below = slope == 0 ? at::zeros_like(grads[0]) : grads[0].mul(slope);
    return {at::where(input.gt(0), grads[0], below), at::Tensor()};
  }
};

// Carries a user's functions from forward to backward.
struct HeldActivation : torch::CustomClassHolder {
  explicit HeldActivation(Activation a) : activation(std::move(a)) {}
  Activation activation;
};

class UserActivation : public Function<UserActivation> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input,
                            const c10::intrusive_ptr<HeldActivation>& held) {
    context->save_for_backward({input});
    context->saved_data["activation"] = c10::IValue::make_capsule(held);
    return held->activation.value(input);
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const at::Tensor input = context->get_saved_variables()[0];
    const auto held = c10::static_intrusive_pointer_cast<HeldActivation>(context->saved_data["activation"].toCapsule());
    const at::Tensor derivative = held->activation.derivative(input);
    GRADWISE_CHECK(derivative.sizes() == input.sizes(), "custom_activation", "the derivative has the shape ",
                   derivative.sizes(), ", the input ", input.sizes());
    return {grads[0].mul(derivative), at::Tensor()};
  }
};

class Linear : public Function<Linear> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias) {
    context->save_for_backward({input, weight});
    context->saved_data["has_bias"] = bias.has_value();
    return at::linear(input, weight, bias);
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list saved = context->get_saved_variables();
    variable_list results(3);
    if (context->needs_input_grad(0)) {
      results[0] = at::matmul(grads[0], saved[1]);
    }
    if (context->needs_input_grad(1)) {
      results[1] = at::matmul(as_rows(grads[0]).t(), as_rows(saved[0]));
    }
    if (context->saved_data["has_bias"].toBool() && context->needs_input_grad(2)) {
      results[2] = as_rows(grads[0]).sum(0);
    }
    return results;
  }
};

at::Tensor leaky_relu_at(const char* place, const at::Tensor& input, double negative_slope) {
  check_floating(place, "input", input);
  if (inside_transform()) {
    return negative_slope == 0 ? at::relu(input) : at::leaky_relu(input, negative_slope);
  }
  return LeakyReLU::apply(input, negative_slope);
}

}  // namespace

at::Tensor CustomAutogradFunction::apply(const at::Tensor& input_tensor, const at::Tensor& weight) {
  constexpr auto kPlace = "custom_function";
  check_floating(kPlace, "input_tensor", input_tensor);
  check_floating(kPlace, "weight", weight);
  const at::Tensor input = autocast_input(input_tensor);
  const at::Tensor factor = autocast_input(weight);
  GRADWISE_CHECK(input.scalar_type() == factor.scalar_type(), kPlace, "input_tensor is ", input.scalar_type(),
                 " and weight ", factor.scalar_type(), ", allowed: one type");
  GRADWISE_CHECK(input_tensor.dim() >= 2 && weight.dim() >= 2 && input_tensor.size(-1) == weight.size(-2), kPlace,
                 "input_tensor has the shape ", input_tensor.sizes(), " and weight ", weight.sizes(),
                 ", allowed: (..., m, k) and (..., k, n)");
  return inside_transform() ? at::matmul(input, factor) : MatrixProduct::apply(input, factor);
}

at::Tensor custom_relu(const at::Tensor& input) { return leaky_relu_at("custom_relu", input, 0.0); }

at::Tensor custom_leaky_relu(const at::Tensor& input, double negative_slope) {
  return leaky_relu_at("custom_leaky_relu", input, negative_slope);
}

at::Tensor custom_activation(const at::Tensor& input, const Activation& activation) {
  check_floating("custom_activation", "input", input);
  GRADWISE_CHECK(activation.value && activation.derivative, "custom_activation",
                 "the activation lacks its value or its derivative");
  return inside_transform() ? activation.value(input)
                            : UserActivation::apply(input, c10::make_intrusive<HeldActivation>(activation));
}

at::Tensor custom_linear(const at::Tensor& given_input, const at::Tensor& given_weight, const at::Tensor& given_bias) {
  constexpr auto kPlace = "custom_linear";
  check_floating(kPlace, "input", given_input);
  check_floating(kPlace, "weight", given_weight);
  const at::Tensor input = autocast_input(given_input);
  const at::Tensor weight = autocast_input(given_weight);
  const at::Tensor bias = given_bias.defined() ? autocast_input(given_bias) : given_bias;
  GRADWISE_CHECK(input.scalar_type() == weight.scalar_type(), kPlace, "input is ", input.scalar_type(), " and weight ",
                 weight.scalar_type(), ", allowed: one type");
  GRADWISE_CHECK(!bias.defined() || bias.scalar_type() == weight.scalar_type(), kPlace, "weight is ",
                 weight.scalar_type(), " and bias ", bias.scalar_type(), ", allowed: one type");
  GRADWISE_CHECK(weight.dim() == 2 && input.dim() >= 1 && input.size(-1) == weight.size(1), kPlace,
                 "input has the shape ", input.sizes(), " and weight ", weight.sizes(),
                 ", allowed: (..., in) and (out, in)");
  GRADWISE_CHECK(!bias.defined() || (bias.dim() == 1 && bias.size(0) == weight.size(0)), kPlace, "bias has the shape ",
                 bias.sizes(), ", allowed: [", weight.size(0), "]");
  const std::optional<at::Tensor> given = bias.defined() ? std::optional(bias) : std::nullopt;
  return inside_transform() ? at::linear(input, weight, given) : Linear::apply(input, weight, given);
}

}  // namespace gradwise
