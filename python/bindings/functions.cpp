#include "python/bindings/functions.h"

#include "python/bindings/held.h"

namespace gradwise::python {

py::tuple arguments_of(const Tensors& inputs) {
  py::tuple arguments(inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    arguments[i] = py::cast(inputs[i]);
  }
  return arguments;
}

TensorFunction adapt_function(const py::object& function) {
  if (PyCallable_Check(function.ptr()) == 0) {
    throw py::type_error("function is a " + py::repr(py::type::handle_of(function)).cast<std::string>() +
                         ", allowed: a callable of tensors");
  }
  return [held = hold(function)](const Tensors& inputs) {
    return with_python([&] {
      const py::object result = (*held)(*arguments_of(inputs));
      if (THPVariable_Check(result.ptr())) {
        return Tensors{THPVariable_Unpack(result.ptr())};
      }
      if (!py::isinstance<py::tuple>(result) && !py::isinstance<py::list>(result)) {
        throw py::type_error("the function gave a " + py::repr(py::type::handle_of(result)).cast<std::string>() +
                             ", allowed: a tensor or a tuple of tensors");
      }
      Tensors tensors;
      for (const py::handle& item : result) {
        if (!THPVariable_Check(item.ptr())) {
          throw py::type_error("the function gave a " + py::repr(py::type::handle_of(item)).cast<std::string>() +
                               " among its results, allowed: tensors");
        }
        tensors.push_back(THPVariable_Unpack(item.ptr()));
      }
      return tensors;
    });
  };
}

}  // namespace gradwise::python
