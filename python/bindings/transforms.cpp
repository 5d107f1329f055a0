#include "gradwise/autograd/transforms/vmap.h"

#include <atomic>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "gradwise/autograd/transforms/batching_rules.h"
#include "gradwise/autograd/transforms/fallback.h"
#include "gradwise/autograd/transforms/jacobian.h"
#include "gradwise/autograd/transforms/jvp.h"
#include "gradwise/autograd/transforms/recorded.h"
#include "gradwise/autograd/transforms/vjp.h"
#include "gradwise/core/error.h"
#include "python/bindings/docstrings.h"
#include "python/bindings/functions.h"
#include "python/bindings/groups.h"
#include "python/bindings/held.h"

// The transforms under gradwise.func, which flattens arguments and results. A function there gives two tuples of
// tensors: outputs and aux results, whose number nobody knows before it has run.
namespace gradwise::python {
namespace {

void append_tensors(Tensors& to, const py::handle& tuple) {
  for (const py::handle& item : tuple) {
    to.push_back(item.cast<at::Tensor>());
  }
}

TensorFunction adapt_marked(const py::object& function) {
  return [held = hold(function)](const Tensors& inputs) {
    return with_python([&] {
      const py::tuple results = (*held)(*arguments_of(inputs));
      Tensors marked;
      append_tensors(marked, results[0]);
      marked.emplace_back();
      append_tensors(marked, results[1]);
      return marked;
    });
  };
}

// torch has rules in Python, and loads them at its first vmap; rules of the core would be in their way.
void load_rules_of_torch() {
  static std::atomic<bool> loaded = false;
  if (!loaded.load(std::memory_order_acquire)) {
    with_python([] {
      const py::module_ torch = py::module_::import("torch");
      torch.attr("func").attr("vmap")(torch.attr("neg"))(torch.attr("zeros")(1));
    });
    loaded.store(true, std::memory_order_release);
  }
}

// A linear map between tensors that the core has made.
class LinearMap {
 public:
  explicit LinearMap(TensorFunction function) : function_(std::move(function)) {}
  [[nodiscard]] Tensors operator()(const Tensors& tensors) const { return function_(tensors); }

 private:
  TensorFunction function_;
};

// As detail::ForgetError says.
bool forget_python_error() {
  const WithLock lock;
  const py::handle type = PyErr_Occurred();
  if (!type) {
    return false;
  }
  if (interrupts(type)) {
    return true;
  }
  PyErr_Clear();
  return false;
}

Randomness randomness_named(const char* place, const std::string& name) {
  GRADWISE_CHECK(name == "error" || name == "same" || name == "different", place, "randomness is \"", name,
                 "\", allowed: error, different, same");
  return name == "same" ? Randomness::same : name == "different" ? Randomness::different : Randomness::error;
}

// Its results have no mark: aux results do not differ from outputs.
Tensors func_vmap(const py::object& function, const Tensors& inputs,
                  const std::vector<std::optional<std::int64_t>>& in_dims, const std::string& randomness,
                  std::optional<std::int64_t> chunk_size) {
  const TensorFunction outputs = [marked = adapt_marked(function)](const Tensors& in) {
    Tensors results = marked(in);
    std::erase_if(results, [](const at::Tensor& tensor) { return !tensor.defined(); });
    return results;
  };
  const VmapOptions options{
      .in_dims = in_dims, .randomness = randomness_named("vmap", randomness), .chunk_size = chunk_size};
  const WithoutLock released;
  return vmap(outputs, options)(inputs);
}

// The aux results stand behind the gradients.
Tensors func_grad(const py::object& function, const Tensors& inputs, const std::vector<std::int64_t>& argnums) {
  const TensorFunction adapted = adapt_marked(function);
  const WithoutLock released;
  return grad(adapted, {.argnums = argnums, .aux = kMarkedAux})(inputs);
}

std::tuple<Tensors, at::Tensor, Tensors> func_grad_and_value(const py::object& function, const Tensors& inputs,
                                                             const std::vector<std::int64_t>& argnums) {
  const TensorFunction adapted = adapt_marked(function);
  const WithoutLock released;
  ValueAndGrad found =
      detail::value_and_grad_at("grad_and_value", adapted, inputs, {.argnums = argnums, .aux = kMarkedAux});
  return {std::move(found.gradients), std::move(found.value), std::move(found.aux)};
}

std::tuple<Tensors, LinearMap, Tensors> func_vjp(const py::object& function, const Tensors& primals) {
  const TensorFunction adapted = adapt_marked(function);
  const WithoutLock released;
  Vjp found = vjp(adapted, primals, kMarkedAux);
  return {std::move(found.outputs), LinearMap(std::move(found.pull_back)), std::move(found.aux)};
}

// The last: why it was not in forward mode, or nothing.
std::tuple<Tensors, Tensors, Tensors, std::string> func_jvp(const py::object& function, const Tensors& primals,
                                                            const Tensors& tangents) {
  const TensorFunction adapted = adapt_marked(function);
  const WithoutLock released;
  Jvp found = jvp(adapted, primals, tangents, kMarkedAux);
  return {std::move(found.outputs), std::move(found.tangents), std::move(found.aux), std::move(found.fallback_reason)};
}

std::tuple<Tensors, LinearMap> func_linearize(const py::object& function, const Tensors& primals) {
  const TensorFunction adapted = adapt_marked(function);
  const WithoutLock released;
  Linearized found = linearize(adapted, primals, kMarkedAux);
  return {std::move(found.outputs), LinearMap(std::move(found.jvp))};
}

// The aux results stand behind the blocks.
Tensors func_jacobian(const py::object& function, const Tensors& inputs, const std::vector<std::int64_t>& argnums,
                      bool forward, std::optional<std::int64_t> chunk_size, const std::string& randomness) {
  const TensorFunction adapted = adapt_marked(function);
  const JacobianOptions options{.argnums = argnums,
                                .aux = kMarkedAux,
                                .mode = forward ? JacobianMode::forward : JacobianMode::reverse,
                                .chunk_size = chunk_size,
                                .randomness = randomness_named("jacfwd", randomness)};
  const WithoutLock released;
  return jacobian(adapted, options)(inputs);
}

}  // namespace

void bind_transforms(py::module_& module) {
  detail::load_batching_rules_by(&load_rules_of_torch);
  py::class_<LinearMap>(module, "LinearMap").def("__call__", &LinearMap::operator(), py::call_guard<WithoutLock>());
  module.def("func_vmap", &func_vmap, doc::vmap);
  detail::set_forget_error(&forget_python_error);
  module.def("func_grad", &func_grad, doc::grad);
  module.def("func_grad_and_value", &func_grad_and_value, doc::value_and_grad);
  module.def("func_vjp", &func_vjp, doc::vjp);
  module.def("func_jvp", &func_jvp, doc::jvp);
  module.def("func_linearize", &func_linearize, doc::linearize);
  module.def("func_jacobian", &func_jacobian, doc::jacobian);
}

}  // namespace gradwise::python
