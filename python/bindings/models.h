#pragma once

#include <torch/csrc/utils/pybind.h>

#include <cstdint>
#include <memory>

#include "gradwise/core/batch.h"
#include "gradwise/core/model.h"

/// Python's models, losses and data as the core takes them. Each callback takes the interpreter lock for its time.
namespace gradwise::python {

/// What a module may give: a tensor, or anything that holds one, where nothing comes between model and loss.
enum class Outputs : std::uint8_t { tensors, any };

/// From a `torch.nn.Module`: parameters and buffers share memory with it. Of any other output than a tensor (a tuple, a
/// dict, a dataclass) the core sees "logits", or else the first tensor of floating point; the loss function gets the
/// module's own object. Errors: an output that is not allowed, or that holds no such tensor.
[[nodiscard]] Model adapt_module(const py::object& module, Outputs outputs = Outputs::tensors);

/// From any callable of (output, target) to a scalar tensor. `output` is what the module gave.
[[nodiscard]] LossFunction adapt_loss(const py::object& loss_function);

/// From any iterable of (input, target), or of ((input, more inputs...), target).
[[nodiscard]] std::unique_ptr<BatchSource> adapt_data(const py::object& dataloader);

}  // namespace gradwise::python
