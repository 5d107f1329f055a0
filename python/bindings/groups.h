#pragma once

#include <torch/csrc/utils/pybind.h>

/// One function for each group of the core that Python sees.
namespace gradwise::python {

void bind_optim(py::module_& module);
void bind_train(py::module_& module);
void bind_autograd(py::module_& module);
void bind_transforms(py::module_& module);
void bind_checkpoint(py::module_& module);
void bind_analysis(py::module_& module);
void bind_estimators(py::module_& module);
void bind_curvature_operators(py::module_& module);  // after bind_estimators, whose class they derive from
void bind_kronecker(py::module_& module);            // likewise
void bind_per_sample(py::module_& module);
void bind_step_clock(py::module_& module);
void bind_monitor(py::module_& module);  // after bind_step_clock
void bind_record(py::module_& module);

}  // namespace gradwise::python
