#pragma once

#include <torch/csrc/utils/pybind.h>

#include <memory>

namespace torch::optim {
class Optimizer;
}

namespace gradwise::python {

/// A `torch.optim.Optimizer` of Python as one of C++: its step, the learning rates of its groups, and its state_dict
/// as the state that is saved. ClosureDriven where its step has to be given a closure.
[[nodiscard]] std::unique_ptr<torch::optim::Optimizer> adapt_optimizer(const py::object& optimizer);

}  // namespace gradwise::python
