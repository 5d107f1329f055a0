#include <torch/csrc/Exceptions.h>
#include <torch/csrc/utils/pybind.h>

#include "gradwise/core/error.h"
#include "python/bindings/groups.h"
#include "python/bindings/held.h"

namespace gradwise::python {
namespace {

void translate(std::exception_ptr thrown) {
  try {
    std::rethrow_exception(std::move(thrown));
  } catch (PythonRaised& raised) {
    raised.restore();
  } catch (python_error& raised) {  // of a function or hook that autograd has called
    raised.restore();
  } catch (const Error& error) {
    const py::module_ errors = py::module_::import("gradwise.errors");
    const char* name = error.kind() == ErrorKind::usage ? "GradwiseUsageError" : "GradwiseError";
    PyErr_SetString(errors.attr(name).ptr(), error.what());
  }
}

}  // namespace
}  // namespace gradwise::python

PYBIND11_MODULE(_core, module) {
  namespace gp = gradwise::python;
  module.doc() = "Gradwise's core; the public interface is the package gradwise.";
  py::register_exception_translator(&gp::translate);
  gp::prepare_for_exit();
  gp::bind_optim(module);
  gp::bind_train(module);
  gp::bind_autograd(module);
  gp::bind_transforms(module);
  gp::bind_checkpoint(module);
  gp::bind_analysis(module);
  gp::bind_estimators(module);
  gp::bind_curvature_operators(module);
  gp::bind_kronecker(module);
  gp::bind_per_sample(module);
  gp::bind_step_clock(module);
  gp::bind_monitor(module);
  gp::bind_record(module);
}
