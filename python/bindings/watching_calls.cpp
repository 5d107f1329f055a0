// What each step of a watched loop calls, by functions of the interpreter's own kind.
#include <torch/csrc/autograd/python_variable.h>

#include <optional>

#include "python/bindings/fast_function.h"
#include "python/bindings/interpreter_lock.h"
#include "python/bindings/watching.h"

namespace gradwise::python {
namespace {

// Of an optimizer's step: its first argument is the optimizer itself.
bool has_arguments(Arguments<4> call) {
  return !PyTuple_Check(call[2]) || PyTuple_GET_SIZE(call[2]) != 1 || !PyDict_Check(call[3]) ||
         PyDict_GET_SIZE(call[3]) != 0;
}

py::object passed_on(Arguments<4> call) {
  return py::handle(call[0])(py::handle(call[1]), py::handle(call[2]), py::handle(call[3]));
}

double learning_rate_of(py::handle optimizer) {
  static PyObject* const groups = PyUnicode_InternFromString("param_groups");
  static PyObject* const rate = PyUnicode_InternFromString("lr");
  const auto all = py::reinterpret_steal<py::sequence>(PyObject_GetAttr(optimizer.ptr(), groups));
  if (!all) {
    throw py::error_already_set();
  }
  return py::float_(all[0][py::handle(rate)]);
}

}  // namespace

py::object Watching::before_step(Arguments<4> call) {
  if (has_arguments(call)) {
    return passed_on(call);
  }
  begin_update(1.0, learning_rate_of(call[1]), 1.0, nullptr);
  return py::none();
}

py::object Watching::after_step(Arguments<4> call) {
  if (has_arguments(call)) {
    return passed_on(call);
  }
  end_update(false, nullptr);
  return py::none();
}

py::object Watching::finish_with(Arguments<1> loss) {
  const bool is_tensor = THPVariable_Check(loss[0]);
  const auto is_number = [](const at::Tensor& x) { return x.numel() == 1 && !x.is_complex() && !x.is_meta(); };
  if (!ready_ || closed() ||
      (!Py_IsNone(loss[0]) && !PyFloat_Check(loss[0]) && !(is_tensor && is_number(THPVariable_Unpack(loss[0]))))) {
    return py::reinterpret_borrow<py::object>(Py_NotImplemented);
  }
  if (is_tensor) {
    tell_loss([&] {
      const WithoutLock released;
      return THPVariable_Unpack(loss[0]).item<double>();
    }());
  } else if (!Py_IsNone(loss[0])) {
    tell_loss(PyFloat_AS_DOUBLE(loss[0]));
  }
  return finish(std::nullopt);
}

}  // namespace gradwise::python
