#include <memory>
#include <optional>

#include "gradwise/autograd/autograd_hooks.h"
#include "gradwise/autograd/find_nonfinite.h"
#include "gradwise/autograd/functions/custom_function.h"
#include "gradwise/autograd/functions/custom_loss.h"
#include "gradwise/autograd/functions/gradcheck.h"
#include "gradwise/autograd/functions/gradients.h"
#include "gradwise/autograd/memory/peak_memory.h"
#include "gradwise/autograd/transforms/jacobian.h"
#include "gradwise/autograd/transforms/jvp.h"
#include "gradwise/autograd/transforms/vjp.h"
#include "gradwise/core/error.h"
#include "python/bindings/docstrings.h"
#include "python/bindings/functions.h"
#include "python/bindings/groups.h"
#include "python/bindings/held.h"
#include "python/bindings/keywords.h"
#include "python/bindings/models.h"

namespace gradwise::python {
namespace {

using Release = py::call_guard<WithoutLock>;

Reduction reduction_named(const std::string& name) {
  GRADWISE_CHECK(name == "none" || name == "mean" || name == "sum", "loss", "reduction is \"", name,
                 "\", allowed: none, mean, sum");
  return name == "none" ? Reduction::none : name == "mean" ? Reduction::mean : Reduction::sum;
}

void bind_functions(py::module_& module) {
  module.def("matrix_product", &CustomAutogradFunction::apply, doc::CustomAutogradFunction, Release());
  module.def("custom_relu", &custom_relu, doc::custom_relu, Release());
  module.def("custom_leaky_relu", &custom_leaky_relu, doc::custom_leaky_relu, Release());
  module.def(
      "custom_linear",
      [](const at::Tensor& input, const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
        return without_lock([&] { return custom_linear(input, weight, bias.value_or(at::Tensor())); });
      },
      doc::custom_linear);
  module.def("custom_activation", [](const at::Tensor& input, const py::object& value, const py::object& derivative) {
    const auto one = [](const py::object& function) {
      return [held = adapt_function(function)](const at::Tensor& x) { return held({x}).at(0); };
    };
    const Activation activation{one(value), one(derivative)};
    return without_lock([&] { return custom_activation(input, activation); });
  });
  py::class_<CustomLossFunction>(module, "CustomLossFunction", doc::CustomLossFunction)
      .def("__call__", [](const CustomLossFunction& self, const Tensors& inputs) { return self(inputs); }, Release());
  module.def("huber_loss", [](double delta, const std::string& reduction) {
    return CustomLossFunction::huber({.delta = delta, .reduction = reduction_named(reduction)});
  });
  module.def("focal_loss", [](double gamma, double alpha, const std::string& reduction) {
    return CustomLossFunction::focal({.gamma = gamma, .alpha = alpha, .reduction = reduction_named(reduction)});
  });
  module.def("label_smoothed_cross_entropy", [](double smoothing, std::int64_t ignore, const std::string& reduction) {
    return CustomLossFunction::label_smoothed_cross_entropy(
        {.smoothing = smoothing, .ignore_index = ignore, .reduction = reduction_named(reduction)});
  });
  module.def("contrastive_loss", [](double margin, const std::string& reduction) {
    return CustomLossFunction::contrastive({.margin = margin, .reduction = reduction_named(reduction)});
  });
  module.def("triplet_loss", [](double margin, double p, double eps, const std::string& reduction) {
    return CustomLossFunction::triplet({.margin = margin, .p = p, .eps = eps, .reduction = reduction_named(reduction)});
  });
}

GradcheckOptions gradcheck_options(double eps, double atol, double rtol, double nondet_tol, bool undefined,
                                   bool raise_exception) {
  return {eps, atol, rtol, nondet_tol, undefined, raise_exception};
}

void bind_gradients(py::module_& module) {
  module.def(
      "gradients",
      [](const Tensors& outputs, const Tensors& inputs, const Tensors& grad_outputs, bool create_graph,
         bool retain_graph) {
        return gradients(outputs, inputs, grad_outputs, {.create_graph = create_graph, .retain_graph = retain_graph});
      },
      doc::gradients, Release());
  module.def("gradient_penalty", &gradient_penalty, doc::gradient_penalty, Release());
  module.def("gradcheck", [](const py::object& function, const Tensors& inputs, double eps, double atol, double rtol,
                             double nondet_tol, bool undefined, bool raise_exception) {
    const TensorFunction adapted = adapt_function(function);
    return without_lock([&] {
      return gradcheck(adapted, inputs, gradcheck_options(eps, atol, rtol, nondet_tol, undefined, raise_exception));
    });
  });
  module.def("gradgradcheck", [](const py::object& function, const Tensors& inputs, double eps, double atol,
                                 double rtol, double nondet_tol, bool undefined, bool raise_exception) {
    const TensorFunction adapted = adapt_function(function);
    return without_lock([&] {
      return gradgradcheck(adapted, inputs, {},
                           gradcheck_options(eps, atol, rtol, nondet_tol, undefined, raise_exception));
    });
  });
}

JacobianOptions jacobian_options(const std::vector<std::int64_t>& argnums, const std::string& mode,
                                 std::optional<std::int64_t> chunk_size, std::int64_t memory_bound) {
  GRADWISE_CHECK(mode == "automatic" || mode == "reverse" || mode == "forward", "jacobian", "mode is \"", mode,
                 "\", allowed: automatic, reverse, forward");
  JacobianOptions options;
  options.argnums = argnums;
  options.mode = mode == "reverse"   ? JacobianMode::reverse
                 : mode == "forward" ? JacobianMode::forward
                                     : JacobianMode::automatic;
  options.chunk_size = chunk_size;
  options.memory_bound = memory_bound;
  return options;
}

void bind_derivatives(py::module_& module) {
  module.def("jacobian",
             [](const py::object& function, const Tensors& inputs, const std::vector<std::int64_t>& argnums,
                const std::string& mode, std::optional<std::int64_t> chunk_size, std::int64_t memory_bound) {
               const TensorFunction transformed =
                   jacobian(adapt_function(function), jacobian_options(argnums, mode, chunk_size, memory_bound));
               return without_lock([&] { return transformed(inputs); });
  });
  module.def(
      "hessian",
      [](const py::object& function, const Tensors& inputs, const std::vector<std::int64_t>& argnums,
         std::optional<std::int64_t> chunk_size, std::int64_t memory_bound) {
        const TensorFunction transformed = hessian(
            adapt_function(function), {.argnums = argnums, .chunk_size = chunk_size, .memory_bound = memory_bound});
        return without_lock([&] { return transformed(inputs); });
      },
      doc::hessian);
  module.def("vjp", [](const py::object& function, const Tensors& primals, const Tensors& cotangents) {
    const TensorFunction adapted = adapt_function(function);
    return without_lock([&] {
      const Vjp result = vjp(adapted, primals);
      return std::pair(result.outputs, result.pull_back(cotangents));
    });
  });
  module.def("jvp", [](const py::object& function, const Tensors& primals, const Tensors& tangents) {
    const TensorFunction adapted = adapt_function(function);
    return without_lock([&] {
      Jvp result = jvp(adapted, primals, tangents);
      return std::tuple(std::move(result.outputs), std::move(result.tangents), std::move(result.fallback_reason));
    });
  });
  module.def("hvp", [](const py::object& function, const Tensors& primals, const Tensors& vectors) {
    const TensorFunction adapted = adapt_function(function);
    return without_lock([&] {
      Hvp result = hvp(adapted, primals, vectors);
      return std::tuple(result.value, std::move(result.gradients), std::move(result.products));
    });
  });
}

py::object nonfinite_origin(const py::object& module, const py::object& loss_function, const at::Tensor& input,
                            const at::Tensor& target) {
  const Model model = adapt_module(module, Outputs::any);
  const LossFunction loss = adapt_loss(loss_function);
  const std::optional<NonfiniteOrigin> origin =
      without_lock([&] { return find_nonfinite(model, loss, input, target); });
  if (!origin) {
    return py::none();
  }
  const auto facts = [](const TensorFacts& f) {
    py::dict dict;
    dict["shape"] = f.shape;
    dict["dtype"] = f.dtype;
    dict["min"] = f.min;
    dict["max"] = f.max;
    dict["nans"] = f.nans;
    dict["infs"] = f.infs;
    return dict;
  };
  py::list inputs;
  for (const TensorFacts& f : origin->inputs) {
    inputs.append(facts(f));
  }
  py::dict dict;
  dict["phase"] = origin->phase;
  dict["op"] = origin->op;
  dict["layer"] = origin->layer;
  dict["position"] = origin->position;
  dict["inputs"] = inputs;
  dict["output"] = facts(origin->output);
  dict["message"] = origin->message;
  dict["advice"] = origin->advice;
  return dict;
}

py::dict record_dict(const HookRecord& record, const char* kind) {
  py::dict dict;
  dict["kind"] = kind;
  dict["name"] = record.name;
  dict["shape"] = record.shape;
  dict["times"] = record.times;
  dict["norm"] = record.norm;
  dict["mean"] = record.mean;
  dict["deviation"] = record.deviation;
  dict["min"] = record.min;
  dict["max"] = record.max;
  dict["zeros"] = record.zeros;
  dict["nonfinite"] = record.nonfinite;
  dict["tensor"] = record.tensor.defined() ? py::cast(record.tensor) : py::none();
  return dict;
}

void bind_hooks(py::module_& module) {
  py::class_<AutogradHooks>(module, "AutogradHooks", doc::AutogradHooks)
      .def(py::init([](const py::object& model, const py::dict& options) {
        return std::make_unique<AutogradHooks>(adapt_module(model).parameters,
                                               options_from<AutogradHooksOptions>("hooks", options));
      }))
      .def("observe", &AutogradHooks::observe, Release())
      .def("records",
           [](const AutogradHooks& self) {
             py::list list;
             for (const HookRecord& record : self.records()) {
               list.append(record_dict(record, record.kind == HookKind::parameter_gradient ? "parameter_gradient"
                                               : record.kind == HookKind::activation       ? "activation"
                                                                                           : "activation_gradient"));
             }
             return list;
           })
      .def("clear", &AutogradHooks::clear)
      .def("remove", &AutogradHooks::remove);
}

// Memory that was taken above what was held at the start, at most, within `with`.
struct Measured {
  std::unique_ptr<PeakMemory> memory;
  std::int64_t peak = 0;
};

}  // namespace

void bind_autograd(py::module_& module) {
  bind_functions(module);
  bind_gradients(module);
  bind_derivatives(module);
  bind_hooks(module);
  module.def("find_nonfinite", &nonfinite_origin, doc::find_nonfinite);
  py::class_<Measured>(module, "PeakMemory", doc::PeakMemory)
      .def(py::init<>())
      .def("__enter__",
           [](Measured& self) -> Measured& {
             self.memory = std::make_unique<PeakMemory>();
             return self;
           })
      .def("__exit__",
           [](Measured& self, const py::args&) {
             self.peak = self.memory->peak();
             self.memory.reset();
           })
      .def_readonly("peak_bytes", &Measured::peak);
}

}  // namespace gradwise::python
