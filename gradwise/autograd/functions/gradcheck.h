#pragma once

#include "gradwise/autograd/functions/tensor_function.h"

namespace gradwise {

/// Names, meaning and defaults of `torch.autograd.gradcheck`.
struct GradcheckOptions {
  double eps = 1e-6;        ///< perturbation of the central differences
  double atol = 1e-5;       ///< absolute tolerance
  double rtol = 1e-3;       ///< relative tolerance
  double nondet_tol = 0.0;  ///< how far two backward passes with the same input may differ
  bool check_undefined_grad = true;
  bool raise_exception = true;  ///< false: return false where a check fails
};

/// Compares the gradients that `function` gives with central differences, element by element (the slow mode of
/// `torch.autograd.gradcheck`): for each input that asks for a gradient and each output, |a - n| <= atol + rtol |n|.
/// It checks as well that two backward passes agree, that backward multiplies by the gradient of the output, that
/// gradients have the shapes of their inputs, and that undefined gradients of outputs are handled.
///
///   gradcheck([](const Tensors& in) { return Tensors{CustomAutogradFunction::apply(in[0], in[1])}; }, {x, w});
///
/// The inputs should be float64, for the tolerances are made for it; others are perturbed as they are. Inputs, and
/// their gradients, are as before when it returns. Returns true; an Error of kind failure with both Jacobians where a
/// check fails. Errors of usage: no function, no input asks for a gradient, complex or sparse tensors, inputs whose
/// elements overlap in memory.
bool gradcheck(const TensorFunction& function, const Tensors& inputs, const GradcheckOptions& options = {});

/// The same of the gradients: `function`'s vector-Jacobian product as a function of inputs and `grad_outputs` (empty:
/// random ones, of a generator of its own), as `torch.autograd.gradgradcheck`.
bool gradgradcheck(const TensorFunction& function, const Tensors& inputs, const Tensors& grad_outputs = {},
                   const GradcheckOptions& options = {});

}  // namespace gradwise
