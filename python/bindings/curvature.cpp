#include "gradwise/curvature/lanczos.h"
#include "gradwise/curvature/trace.h"
#include "python/bindings/groups.h"
#include "python/bindings/held.h"

namespace gradwise::python {
namespace {

using Release = py::call_guard<py::gil_scoped_release>;

py::dict dict_of(const Estimate& estimate) {
  py::dict dict;
  dict["value"] = estimate.value;
  dict["standard_error"] = estimate.standard_error;
  dict["samples"] = estimate.samples;
  dict["products"] = estimate.products;
  return dict;
}

py::dict dict_of(const LanczosResult& result) {
  py::dict dict;
  dict["values"] = result.values;
  dict["errors"] = result.errors;
  dict["weights"] = result.weights;
  dict["products"] = result.products;
  return dict;
}

py::dict trace(const LinearOperator& matrix, const std::string& method, std::int64_t products, std::int64_t seed) {
  const TraceOptions options{.products = products, .seed = seed};
  Estimate estimate;
  {
    const py::gil_scoped_release release;
    GRADWISE_CHECK(method == "hutchinson" || method == "hutch++" || method == "xtrace" || method == "xnystrace",
                   "trace", "method is \"", method, "\", allowed: hutchinson, hutch++, xtrace, xnystrace");
    estimate = method == "hutchinson" ? hutchinson_trace(matrix, options)
               : method == "hutch++"  ? hutch_plus_plus(matrix, options)
               : method == "xtrace"   ? xtrace(matrix, options)
                                      : xnystrace(matrix, options);
  }
  return dict_of(estimate);
}

}  // namespace

void bind_curvature(py::module_& module) {
  py::class_<LinearOperator>(module, "LinearOperator")
      .def("size", &LinearOperator::size)
      .def("apply", &LinearOperator::apply, Release())
      .def("apply_columns", &LinearOperator::apply_columns, Release())
      .def(
          "lanczos",
          [](const LinearOperator& self, std::int64_t wanted, std::int64_t steps, double tolerance, std::int64_t seed) {
            LanczosResult result;
            {
              const py::gil_scoped_release release;
              result = lanczos(self, wanted, {.steps = steps, .tolerance = tolerance, .seed = seed});
            }
            return dict_of(result);
          })
      .def("trace", &trace)
      .def("diagonal",
           [](const LinearOperator& self, std::int64_t products, std::int64_t seed) {
             DiagonalEstimate result;
             {
               const py::gil_scoped_release release;
               result = hutchinson_diagonal(self, {.products = products, .seed = seed});
             }
             return std::pair(result.values, result.standard_errors);
           })
      .def("spectral_density",
           [](const LinearOperator& self, std::int64_t steps, std::int64_t vectors, std::int64_t seed) {
             const py::gil_scoped_release release;
             std::vector<LanczosResult> runs;
             for (std::int64_t i = 0; i < vectors; ++i) {
               runs.push_back(lanczos(self, steps, {.steps = steps, .tolerance = 0, .seed = seed + i}));
             }
             std::vector<std::pair<double, double>> points;
             for (const DensityPoint& point : spectral_density(runs)) {
               points.emplace_back(point.eigenvalue, point.density);
             }
             return points;
           });
}

}  // namespace gradwise::python
