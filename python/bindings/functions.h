#pragma once

#include <torch/csrc/utils/pybind.h>

#include "gradwise/autograd/functions/tensor_function.h"

namespace gradwise::python {

/// The positional arguments of a call with these tensors. Needs the interpreter lock.
[[nodiscard]] py::tuple arguments_of(const Tensors& inputs);

/// From any callable of tensors to a tensor or a tuple of them.
[[nodiscard]] TensorFunction adapt_function(const py::object& function);

}  // namespace gradwise::python
