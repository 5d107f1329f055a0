#include <functional>

#include "gradwise/curvature/condition_number.h"
#include "gradwise/curvature/eigenpairs.h"
#include "gradwise/curvature/function_operator.h"
#include "gradwise/curvature/solve.h"
#include "gradwise/curvature/spectral_density.h"
#include "gradwise/curvature/trace.h"
#include "python/bindings/docstrings.h"
#include "python/bindings/groups.h"
#include "python/bindings/held.h"
#include "python/bindings/keywords.h"
#include "python/bindings/records.h"

namespace gradwise::python {
namespace {

using namespace py::literals;

template <class Function>
using Method = std::pair<const char*, Function>;

// The function of a name in a table of them. Error: no such name.
template <class Function, std::size_t n>
Function method_of(const char* place, const std::string& name, const Method<Function> (&table)[n]) {
  std::string names;
  for (const auto& [known, function] : table) {
    if (name == known) {
      return function;
    }
    names += (names.empty() ? "" : ", ") + std::string(known);
  }
  fail_usage(place, "method is \"", name, "\", allowed: ", names);
}

py::dict trace_of(const LinearOperator& matrix, const std::string& method, const py::dict& keywords) {
  using Function = Estimate (*)(const LinearOperator&, const TraceOptions&);
  static constexpr Method<Function> kMethods[] = {
      {"hutchinson", hutchinson_trace}, {"hutch++", hutch_plus_plus}, {"xtrace", xtrace}, {"xnystrace", xnystrace}};
  const auto options = options_from<TraceOptions>("trace", keywords);
  const Function estimate = method_of("trace", method, kMethods);
  return dict_of(without_lock([&] { return estimate(matrix, options); }));
}

py::dict diagonal_of(const LinearOperator& matrix, const std::string& method, const py::dict& keywords) {
  using Function = DiagonalEstimate (*)(const LinearOperator&, const TraceOptions&);
  static constexpr Method<Function> kMethods[] = {{"hutchinson", hutchinson_diagonal}, {"xdiag", xdiag}};
  const auto options = options_from<TraceOptions>("diagonal", keywords);
  const Function estimate = method_of("diagonal", method, kMethods);
  return dict_of(without_lock([&] { return estimate(matrix, options); }));
}

py::dict solve_of(const LinearOperator& matrix, const at::Tensor& b, const std::string& method,
                  const py::dict& keywords) {
  using Function = Solution (*)(const LinearOperator&, const at::Tensor&, const SolveOptions&);
  static constexpr Method<Function> kMethods[] = {{"cg", conjugate_gradients}, {"lsmr", lsmr}};
  const auto options = options_from<SolveOptions>("solve", keywords);
  const Function solve = method_of("solve", method, kMethods);
  return dict_of(without_lock([&] { return solve(matrix, b, options); }));
}

py::dict density_of(const LinearOperator& matrix, const py::dict& quadrature, const py::dict& grid) {
  const auto run = options_from<QuadratureOptions>("spectral_density", quadrature, {.vectors = 4});
  const auto options = options_from<DensityOptions>("spectral_density", grid);
  const SampledDensity found = without_lock([&] { return sampled_density(matrix, run, options); });
  std::vector<double> eigenvalues;
  std::vector<double> density;
  std::vector<double> standard_errors;
  for (const DensityPoint& point : found.points) {
    eigenvalues.push_back(point.eigenvalue);
    density.push_back(point.density);
    standard_errors.push_back(point.standard_error);
  }
  return py::dict("eigenvalues"_a = eigenvalues, "density"_a = density, "standard_errors"_a = standard_errors,
                  "samples"_a = found.samples, "products"_a = found.products, "converged"_a = found.converged);
}

std::unique_ptr<FunctionOperator> from_function(const py::object& function, std::int64_t size, at::ScalarType dtype,
                                                const at::Device& device) {
  if (PyCallable_Check(function.ptr()) == 0) {
    throw py::type_error("function is a " + py::repr(py::type::handle_of(function)).cast<std::string>() +
                         ", allowed: a callable of a vector");
  }
  const auto call = [held = hold(function)](const at::Tensor& vector) {
    return with_python([&] {
      const py::object result = (*held)(vector);
      if (!THPVariable_Check(result.ptr())) {
        throw py::type_error("the function gave a " + py::repr(py::type::handle_of(result)).cast<std::string>() +
                             ", allowed: a tensor");
      }
      return THPVariable_Unpack(result.ptr());
    });
  };
  return std::make_unique<FunctionOperator>(call, size, at::TensorOptions(dtype).device(device));
}

}  // namespace

void bind_estimators(py::module_& module) {
  py::class_<LinearOperator>(module, "LinearOperator", doc::LinearOperator)
      .def("size", &LinearOperator::size)
      .def("apply", &LinearOperator::apply, py::call_guard<WithoutLock>())
      .def("apply_columns", &LinearOperator::apply_columns, py::call_guard<WithoutLock>())
      .def("eigenpairs",
           [](const LinearOperator& self, const py::dict& keywords, const py::object& preconditioner) {
             auto options = options_from<EigenOptions>("eigenpairs", keywords);
             options.preconditioner = preconditioner.is_none() ? nullptr : preconditioner.cast<const LinearOperator*>();
             return dict_of(without_lock([&] { return eigenpairs(self, options); }));
           })
      .def("trace", &trace_of)
      .def("diagonal", &diagonal_of)
      .def("solve", &solve_of)
      .def("spectral_density", &density_of)
      .def("frobenius_norm",
           [](const LinearOperator& self, const py::dict& keywords) {
             const auto options = options_from<TraceOptions>("frobenius_norm", keywords);
             return dict_of(without_lock([&] { return frobenius_norm(self, options); }));
           })
      .def("log_determinant",
           [](const LinearOperator& self, double damping, const py::dict& keywords) {
             const auto options = options_from<QuadratureOptions>("log_determinant", keywords);
             return dict_of(without_lock([&] { return log_determinant(self, damping, options); }));
           })
      .def("condition_number", [](const LinearOperator& self, double damping, const py::dict& keywords) {
        const auto options = options_from<EigenOptions>("condition_number", keywords);
        return dict_of(without_lock([&] { return condition_number(self, damping, options); }));
      });
  py::class_<MatrixOperator, LinearOperator>(module, "MatrixOperator", doc::MatrixOperator).def(py::init<at::Tensor>());
  py::class_<FunctionOperator, LinearOperator>(module, "FunctionOperator", doc::FunctionOperator)
      .def(py::init(&from_function));
}

}  // namespace gradwise::python
