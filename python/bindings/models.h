#pragma once

#include <torch/csrc/utils/pybind.h>

#include <memory>

#include "gradwise/core/batch.h"
#include "gradwise/core/model.h"

/// Python's models, losses and data as the core takes them. Each callback takes the interpreter lock for its time.
namespace gradwise::python {

/// From a `torch.nn.Module`: parameters and buffers share memory with it.
[[nodiscard]] Model adapt_module(const py::object& module);

/// From any callable of (output, target) to a scalar tensor.
[[nodiscard]] LossFunction adapt_loss(const py::object& loss_function);

/// From any iterable of (input, target), or of ((input, more inputs...), target).
[[nodiscard]] std::unique_ptr<BatchSource> adapt_data(const py::object& dataloader);

}  // namespace gradwise::python
