#include "gradwise/autograd/functions/gradcheck.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Formatting.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/Exception.h>
#include <c10/util/intrusive_ptr.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/functions/basic_ops.h>

#include <optional>
#include <sstream>
#include <string>

#include "gradwise/core/error.h"

namespace gradwise {
namespace {

// What a failed check says; turned into an Error, or into false.
struct Mismatch {
  std::string text;
};

template <class... Parts>
[[noreturn]] void mismatch(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  throw Mismatch{text.str()};
}

void check_inputs(const char* place, const Tensors& inputs) {
  bool any = false;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const at::Tensor& input = inputs[i];
    GRADWISE_CHECK(input.defined(), place, "input ", i, " is undefined");
    GRADWISE_CHECK(!input.is_complex(), place, "input ", i, " is complex, allowed: real floating types");
    GRADWISE_CHECK(input.layout() == at::kStrided, place, "input ", i, " has the layout ", input.layout(),
                   ", allowed: strided");
    if (!input.requires_grad()) {
      continue;
    }
    any = true;
    for (std::int64_t d = 0; d < input.dim(); ++d) {
      GRADWISE_CHECK(input.stride(d) != 0 || input.size(d) <= 1, place, "the ", i,
                     "th input has a dimension with stride 0. gradcheck only supports inputs that are non-overlapping "
                     "to be able to compute the numerical gradients correctly. You should call .contiguous on the "
                     "input before passing it to gradcheck.");
    }
  }
  GRADWISE_CHECK(any, place,
                 "gradcheck expects at least one input tensor to require gradient, but none of them have "
                 "requires_grad=True.");
}

Tensors differentiable(const char* place, const Tensors& outputs) {
  Tensors kept;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (!outputs[i].defined()) {
      continue;
    }
    GRADWISE_CHECK(!outputs[i].is_complex(), place, "output ", i, " is complex, allowed: real floating types");
    GRADWISE_CHECK(outputs[i].layout() == at::kStrided, place, "output ", i, " has the layout ", outputs[i].layout(),
                   ", allowed: strided");
    if (outputs[i].requires_grad()) {
      kept.push_back(outputs[i]);
    }
  }
  return kept;
}

Tensors asking_for_gradients(const Tensors& inputs) {
  Tensors asking;
  for (const at::Tensor& input : inputs) {
    if (input.requires_grad()) {
      asking.push_back(input);
    }
  }
  return asking;
}

// Copies that own their memory, so that an element can be perturbed.
Tensors leaves_of(const Tensors& inputs) {
  Tensors leaves;
  for (const at::Tensor& input : inputs) {
    leaves.push_back(input.detach().clone().set_requires_grad(input.requires_grad()));
  }
  return leaves;
}

// One matrix (input elements, output elements) for each output, by central differences in input `which`.
Tensors numerical_jacobians(const char* place, const TensorFunction& function, const Tensors& inputs, std::size_t which,
                            double eps) {
  // Shares the memory and neither the graph nor the count of changes, which graphs of before would trip over.
  const at::Tensor input = inputs[which].variable_data();
  const std::int64_t numel = input.numel();
  Tensors jacobians;
  const auto evaluated = [&](const at::Tensor& element, double value) {
    element.fill_(value);
    Tensors results;
    for (const at::Tensor& output : differentiable(place, function(inputs))) {
      results.push_back(output.detach().reshape({-1}).clone());
    }
    return results;
  };
  for (std::int64_t i = 0; i < numel; ++i) {
    // The i-th element in logical order, whatever the strides.
    at::Tensor element = input;
    std::int64_t rest = i;
    std::int64_t block = numel;
    for (const std::int64_t size : input.sizes()) {
      block /= size;
      element = element.select(0, rest / block);
      rest %= block;
    }
    const double original = element.item<double>();
    const Tensors up = evaluated(element, original + eps);
    const Tensors down = evaluated(element, original - eps);
    element.fill_(original);
    for (std::size_t j = 0; j < up.size(); ++j) {
      if (jacobians.size() <= j) {
        jacobians.push_back(at::zeros({numel, up[j].numel()}, up[j].options()));
      }
      jacobians[j].select(0, i).copy_(up[j].sub(down[j]).div(2 * eps));
    }
  }
  return jacobians;
}

// One matrix (input elements, output elements) for each input that asks for a gradient.
Tensors analytical_jacobians(const at::Tensor& output, const Tensors& inputs) {
  Tensors jacobians;
  for (const at::Tensor& input : inputs) {
    jacobians.push_back(at::zeros({input.numel(), output.numel()}, input.options()));
  }
  const at::Tensor seed = at::zeros_like(output, at::MemoryFormat::Contiguous);
  for (std::int64_t i = 0; i < output.numel(); ++i) {
    seed.view({-1})[i].fill_(1);
    Tensors rows;
    try {
      rows = torch::autograd::grad({output}, inputs, {seed.clone()}, /*retain_graph=*/true, /*create_graph=*/false,
                                   /*allow_unused=*/true);
    } catch (const c10::Error& error) {  // of the engine: a gradient's shape does not fit its input
      mismatch("Backward failed: ", error.what_without_backtrace());
    }
    seed.view({-1})[i].fill_(0);
    for (std::size_t j = 0; j < inputs.size(); ++j) {
      if (rows[j].defined()) {
        jacobians[j].select(1, i).copy_(rows[j].reshape({-1}));
      }
    }
  }
  return jacobians;
}

void check_reentrant(const Tensors& first, const Tensors& second, double nondet_tol) {
  for (std::size_t i = 0; i < first.size(); ++i) {
    if (first[i].numel() != 0 && first[i].sub(second[i]).abs().max().item<double>() > nondet_tol) {
      mismatch(
          "Backward is not reentrant, i.e., running backward with same input and grad_output multiple times gives "
          "different values, although analytical gradient matches numerical gradient. The tolerance for "
          "nondeterminism was ",
          nondet_tol, ".");
    }
  }
}

void check_multiplies(const Tensors& outputs, const Tensors& inputs) {
  Tensors zeros;
  for (const at::Tensor& output : outputs) {
    zeros.push_back(at::zeros_like(output, at::MemoryFormat::Contiguous));
  }
  for (const at::Tensor& gradient : torch::autograd::grad(outputs, inputs, zeros, true, false, true)) {
    if (gradient.defined() && !gradient.eq(0).all().item<bool>()) {
      mismatch("backward not multiplied by grad_output");
    }
  }
}

// The output of a node that answers with an undefined gradient.
at::Tensor with_undefined_gradient(const at::Tensor& output) {
  return c10::make_intrusive<torch::autograd::UndefinedGrad>()->apply({output}).front();
}

// All outputs get an undefined gradient, and then each of several in turn.
void check_undefined(const char* place, const TensorFunction& function, const Tensors& inputs) {
  const auto run = [&](std::optional<std::size_t> only) {
    const Tensors leaves = leaves_of(inputs);
    Tensors outputs = differentiable(place, function(leaves));
    Tensors zeros;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      zeros.push_back(at::zeros_like(outputs[i]));
      if (!only || *only == i) {
        outputs[i] = with_undefined_gradient(outputs[i]);
      }
    }
    Tensors found;
    try {
      found = torch::autograd::grad(outputs, asking_for_gradients(leaves), zeros, true, false, true);
    } catch (const c10::Error& error) {
      mismatch("Expected backward function to handle undefined output grads: ", error.what_without_backtrace());
    }
    for (const at::Tensor& gradient : found) {
      if (gradient.defined() && !gradient.eq(0).all().item<bool>()) {
        mismatch("Expected all input grads to be undefined or zero when all output grads are undefined or zero.");
      }
    }
    return outputs.size();
  };
  const std::size_t outputs = run(std::nullopt);
  for (std::size_t i = 0; outputs > 1 && i < outputs; ++i) {
    run(i);
  }
}

void check_all(const char* place, const TensorFunction& function, const Tensors& given,
               const GradcheckOptions& options) {
  const at::AutoGradMode grad_mode(true);
  const Tensors inputs = leaves_of(given);
  const Tensors asking = asking_for_gradients(inputs);
  const Tensors outputs = differentiable(place, function(inputs));
  if (outputs.empty()) {
    const Tensors values = function(inputs);
    for (const at::Tensor& input : asking) {
      const at::Tensor memory = input.variable_data();
      const at::Tensor before = memory.clone();
      memory.add_(options.eps);
      const Tensors moved = function(inputs);
      memory.copy_(before);
      for (std::size_t j = 0; j < values.size(); ++j) {
        if (values[j].is_floating_point() && !values[j].equal(moved[j])) {
          mismatch("Numerical gradient for function expected to be zero");
        }
      }
    }
    return;
  }
  std::vector<Tensors> analytical;
  for (const at::Tensor& output : outputs) {
    analytical.push_back(analytical_jacobians(output, asking));
    check_reentrant(analytical.back(), analytical_jacobians(output, asking), options.nondet_tol);
  }
  std::size_t j = 0;
  for (std::size_t which = 0; which < inputs.size(); ++which) {
    if (!inputs[which].requires_grad()) {
      continue;
    }
    const Tensors numerical = numerical_jacobians(place, function, inputs, which, options.eps);
    for (std::size_t i = 0; i < numerical.size(); ++i) {
      const at::Tensor& a = analytical[i][j];
      const at::Tensor n = numerical[i].to(a.scalar_type());
      if (!at::allclose(a, n, options.rtol, options.atol, /*equal_nan=*/true)) {
        mismatch("Jacobian mismatch for output ", i, " with respect to input ", j, ",\nnumerical:", n,
                 "\nanalytical:", a);
      }
    }
    ++j;
  }
  check_multiplies(outputs, asking);
  if (options.check_undefined_grad) {
    check_undefined(place, function, given);
  }
}

bool gradcheck_at(const char* place, const TensorFunction& function, const Tensors& inputs,
                  const GradcheckOptions& options) {
  GRADWISE_CHECK(function != nullptr, place, "there is no function");
  GRADWISE_CHECK(options.eps > 0, place, "eps is ", options.eps, ", allowed: > 0");
  check_inputs(place, inputs);
  try {
    check_all(place, function, inputs, options);
  } catch (const Mismatch& found) {
    if (options.raise_exception) {
      fail(place, found.text);
    }
    return false;
  }
  return true;
}

}  // namespace

bool gradcheck(const TensorFunction& function, const Tensors& inputs, const GradcheckOptions& options) {
  return gradcheck_at("gradcheck", function, inputs, options);
}

bool gradgradcheck(const TensorFunction& function, const Tensors& inputs, const Tensors& grad_outputs,
                   const GradcheckOptions& options) {
  constexpr auto kPlace = "gradgradcheck";
  GRADWISE_CHECK(function != nullptr, kPlace, "there is no function");
  check_inputs(kPlace, inputs);
  Tensors all = inputs;
  Tensors weights = grad_outputs;
  {
    const at::AutoGradMode grad_mode(true);
    const Tensors outputs = differentiable(kPlace, function(leaves_of(inputs)));
    GRADWISE_CHECK(!outputs.empty(), kPlace, "no output of the function asks for a gradient");
    GRADWISE_CHECK(weights.empty() || weights.size() == outputs.size(), kPlace, "there are ", outputs.size(),
                   " differentiable outputs and ", weights.size(), " grad_outputs");
    at::Generator random = at::detail::createCPUGenerator(0);
    for (std::size_t i = 0; grad_outputs.empty() && i < outputs.size(); ++i) {
      weights.push_back(at::randn(outputs[i].sizes(), random, at::kDouble).to(outputs[i].options()));
    }
  }
  for (const at::Tensor& weight : weights) {
    all.push_back(weight.detach().clone().set_requires_grad(true));
  }
  const std::size_t number = inputs.size();
  const auto gradient_function = [&function, number](const Tensors& in) {
    const Tensors arguments(in.begin(), in.begin() + static_cast<std::ptrdiff_t>(number));
    const Tensors seeds(in.begin() + static_cast<std::ptrdiff_t>(number), in.end());
    Tensors found = torch::autograd::grad(differentiable(kPlace, function(arguments)), asking_for_gradients(arguments),
                                          seeds, /*retain_graph=*/true, /*create_graph=*/true, /*allow_unused=*/true);
    Tensors results;
    for (const at::Tensor& gradient : found) {
      if (gradient.defined()) {
        results.push_back(gradient);
      }
    }
    return results;
  };
  return gradcheck_at(kPlace, gradient_function, all, options);
}

}  // namespace gradwise
