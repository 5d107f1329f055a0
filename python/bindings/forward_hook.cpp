#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/python_variable.h>
#include <torch/csrc/utils/pybind.h>

#include <cstdint>
#include <memory>
#include <utility>

#include "python/bindings/fast_function.h"
#include "python/bindings/groups.h"
#include "python/bindings/step_clock.h"

namespace gradwise::python {
namespace {

// Whether forward passes of this thread are none of a training step's.
thread_local bool aside = false;

std::int64_t samples_of(py::handle inputs);

// Much that has `values` and items is none: a data frame, say.
bool is_mapping(py::handle object) {
  if (PyDict_Check(object.ptr())) {
    return true;
  }
  static PyObject* const mapping = py::object(py::module_::import("collections.abc").attr("Mapping")).release().ptr();
  return py::isinstance(object, mapping);
}

// The first count above zero.
std::int64_t first_samples_of(py::handle inputs) {
  for (const py::handle item : inputs) {
    if (const std::int64_t count = samples_of(item); count > 0) {
      return count;
    }
  }
  return 0;
}

// The length of the first tensor's first dimension: the batch size by PyTorch's custom; 0 where there is none.
std::int64_t samples_of(py::handle inputs) {
  if (THPVariable_Check(inputs.ptr())) {
    const at::Tensor& tensor = THPVariable_Unpack(inputs.ptr());
    return tensor.dim() > 0 ? tensor.size(0) : 0;
  }
  if (py::isinstance<py::tuple>(inputs) || py::isinstance<py::list>(inputs)) {
    return first_samples_of(inputs);
  }
  return is_mapping(inputs) ? first_samples_of(inputs.attr("values")()) : 0;
}

bool trains(py::handle module) {
  static PyObject* const name = PyUnicode_InternFromString("training");
  const auto training = py::reinterpret_steal<py::object>(PyObject_GetAttr(module.ptr(), name));
  if (!training) {
    throw py::error_already_set();
  }
  return training.ptr() == Py_True && at::GradMode::is_enabled();
}

// Of a module, its arguments and its keyword arguments.
py::object before_forward(StepClock& clock, Arguments<3> call) {
  if (!aside && trains(call[0])) {
    const std::int64_t positional = samples_of(call[1]);
    clock.forward_start(positional > 0 ? positional : samples_of(call[2]));
  }
  return py::none();
}

// Of a module, its arguments and its output.
py::object after_forward(StepClock& clock, Arguments<3> call) {
  if (aside) {
    return py::none();
  }
  if (trains(call[0])) {
    clock.forward_end();
  } else {
    clock.elsewhere();
  }
  return py::none();
}

}  // namespace

void bind_step_clock(py::module_& module) {
  py::class_<StepClock, std::shared_ptr<StepClock>>(module, "StepClock")
      .def("forward_hooks",
           [](const std::shared_ptr<StepClock>& clock) {
             return py::make_tuple(fast_function<3, &before_forward>(clock, "before_forward"),
                                   fast_function<3, &after_forward>(clock, "after_forward"));
           })
      .def("forward_start", &StepClock::forward_start, py::arg("samples"))
      .def("forward_end", &StepClock::forward_end)
      .def("update_start", &StepClock::update_start)
      .def("update_end", &StepClock::update_end)
      .def("elsewhere", &StepClock::elsewhere);
  module.def("samples_of", &samples_of, py::arg("inputs"));
  module.def("set_aside", [](bool now) { return std::exchange(aside, now); });
  module.def("is_aside", [] { return aside; });
}

}  // namespace gradwise::python
