#include "gradwise/autograd/checkpoint/checkpoint.h"

#include <string>
#include <utility>

#include "gradwise/autograd/memory/saved_tensor_hooks.h"
#include "python/bindings/docstrings.h"
#include "python/bindings/functions.h"
#include "python/bindings/groups.h"
#include "python/bindings/held.h"

namespace gradwise::python {
namespace {

// detail::RecomputationDone on its way through Python. No Exception, so that `except Exception` lets it pass.
PyObject* recomputation_done() {
  static PyObject* const type = PyErr_NewException("gradwise._core.RecomputationDone", PyExc_BaseException, nullptr);
  return type;
}

void translate_done(std::exception_ptr thrown) {
  try {
    std::rethrow_exception(std::move(thrown));
  } catch (const detail::RecomputationDone&) {
    PyErr_SetNone(recomputation_done());
  }
}

TensorFunction adapt_recomputed(const py::object& function) {
  return [adapted = adapt_function(function)](const Tensors& inputs) {
    try {
      return adapted(inputs);
    } catch (const PythonRaised& raised) {
      const WithLock lock;
      if (raised.matches(recomputation_done())) {
        throw detail::RecomputationDone();
      }
      throw;
    }
  };
}

// What a saved tensor's pack hook has given back.
at::Tensor unpack(const py::capsule& kept) {
  const UnpackSaved& get = *kept.get_pointer<UnpackSaved>();
  const WithoutLock released;  // it may run a whole function, and wait for another thread that does
  return get();
}

// torch's stack of hooks is Python's alone, as its engine is, which asks for them.
py::object torch_hooks(const char* function) {
  return py::module_::import("torch").attr("_C").attr("_autograd").attr(function);
}

void push_hooks(const PackSaved& pack) {
  with_python([&] {
    const py::cpp_function pack_hook([pack](const at::Tensor& tensor) {
      return py::capsule(new UnpackSaved(pack(tensor)), [](void* kept) { delete static_cast<UnpackSaved*>(kept); });
    });
    torch_hooks("_push_saved_tensors_default_hooks")(pack_hook, py::cpp_function(&unpack));
  });
}

void pop_hooks() {
  with_python([] { torch_hooks("_pop_saved_tensors_default_hooks")(); });
}

Tensors run_checkpointed(const py::object& function, const Tensors& inputs, bool preserve_random_state, bool early_stop,
                         bool determinism_check) {
  TensorFunction adapted = adapt_recomputed(function);
  const RecomputeOptions options{
      .preserve_random_state = preserve_random_state, .early_stop = early_stop, .determinism_check = determinism_check};
  const WithoutLock released;
  return checkpoint(std::move(adapted), inputs, options);
}

}  // namespace

void bind_checkpoint(py::module_& module) {
  py::register_exception_translator(&translate_done);
  detail::use_saved_tensor_stack({.push = &push_hooks, .pop = &pop_hooks});
  module.def("checkpoint", &run_checkpointed, doc::checkpoint);
}

}  // namespace gradwise::python
