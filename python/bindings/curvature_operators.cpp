#include "gradwise/curvature/block_diagonal.h"
#include "gradwise/curvature/damped.h"
#include "gradwise/curvature/empirical_fisher.h"
#include "gradwise/curvature/fisher.h"
#include "gradwise/curvature/gauss_newton.h"
#include "gradwise/curvature/gradient_covariance.h"
#include "gradwise/curvature/hessian.h"
#include "gradwise/curvature/layer_trace.h"
#include "python/bindings/docstrings.h"
#include "python/bindings/groups.h"
#include "python/bindings/held.h"
#include "python/bindings/keywords.h"
#include "python/bindings/models.h"
#include "python/bindings/records.h"

namespace gradwise::python {
namespace {

CurvatureOptions curvature_options(const char* place, const py::dict& keywords, const py::object& progress) {
  auto options = options_from<CurvatureOptions>(place, keywords);
  if (!progress.is_none()) {
    options.progress = [held = hold(progress)](std::int64_t done, std::int64_t total) {
      with_python([&] { (*held)(done, total); });
    };
  }
  return options;
}

// `place` as the operator's own errors name it.
template <class Operator>
auto from_loss(const char* place) {
  return [place](const py::object& model, const py::object& loss_function, const py::object& batches,
                 const py::dict& keywords, const py::object& progress) {
    const Model adapted = adapt_module(model);
    const LossFunction loss = adapt_loss(loss_function);
    CurvatureOptions options = curvature_options(place, keywords, progress);
    const std::unique_ptr<BatchSource> source = adapt_data(batches);
    const WithoutLock released;
    return std::make_unique<Operator>(adapted, loss, read_batches(*source), std::move(options));
  };
}

std::unique_ptr<Fisher> fisher_of(const py::object& model, const std::string& loss, const py::object& batches,
                                  const py::dict& fisher, const py::dict& keywords, const py::object& progress) {
  const Model adapted = adapt_module(model);
  auto fisher_options = options_from<FisherOptions>("fisher", fisher);
  CurvatureOptions options = curvature_options("fisher", keywords, progress);
  const std::unique_ptr<BatchSource> source = adapt_data(batches);
  const WithoutLock released;
  return std::make_unique<Fisher>(adapted, loss, read_batches(*source), std::move(fisher_options), std::move(options));
}

std::unique_ptr<BlockDiagonal> blocks_of(const DataOperator& matrix, const std::string& block) {
  GRADWISE_CHECK(block == "layer" || block == "parameter", "block_diagonal", "block is \"", block,
                 "\", allowed: layer, parameter");
  return std::make_unique<BlockDiagonal>(
      matrix, block == "layer" ? layer_blocks(matrix.parameters()) : parameter_blocks(matrix.parameters()));
}

}  // namespace

void bind_curvature_operators(py::module_& module) {
  py::class_<DataOperator, LinearOperator>(module, "DataOperator", doc::DataOperator)
      .def("parameter_names", [](const DataOperator& self) { return self.parameters().names; })
      .def("samples", &DataOperator::samples)
      .def("kept_batches", &DataOperator::kept_batches);
  py::class_<Hessian, DataOperator>(module, "Hessian", doc::Hessian)
      .def(py::init(from_loss<Hessian>("hessian")))
      .def("gradient", &Hessian::gradient, doc::Hessian_gradient)
      .def("layer_trace", [](const Hessian& self, const py::dict& keywords) {
        const auto options = options_from<TraceOptions>("trace", keywords);
        return dict_of(without_lock([&] { return layer_trace(self, options); }));
      });
  py::class_<GaussNewton, DataOperator>(module, "GaussNewton", doc::GaussNewton)
      .def(py::init(from_loss<GaussNewton>("gauss_newton")));
  py::class_<EmpiricalFisher, DataOperator>(module, "EmpiricalFisher", doc::EmpiricalFisher)
      .def(py::init(from_loss<EmpiricalFisher>("empirical_fisher")));
  py::class_<GradientCovariance, EmpiricalFisher>(module, "GradientCovariance", doc::GradientCovariance)
      .def(py::init(from_loss<GradientCovariance>("gradient_covariance")))
      .def("gradient", &GradientCovariance::gradient);
  py::class_<Fisher, DataOperator>(module, "Fisher", doc::Fisher).def(py::init(&fisher_of));
  py::class_<BlockDiagonal, LinearOperator>(module, "BlockDiagonal", doc::BlockDiagonal)
      .def(py::init(&blocks_of), py::keep_alive<1, 2>())
      .def("block_names", [](const BlockDiagonal& self) {
        std::vector<std::string> names;
        for (const RowBlock& block : self.blocks()) {
          names.push_back(block.name);
        }
        return names;
      });
  py::class_<Damped, LinearOperator>(module, "Damped", doc::Damped)
      .def(py::init<const LinearOperator&, double>(), py::keep_alive<1, 2>());
}

}  // namespace gradwise::python
