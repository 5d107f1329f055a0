#include "gradwise/curvature/kronecker_factors.h"
#include "python/bindings/docstrings.h"
#include "python/bindings/groups.h"
#include "python/bindings/held.h"
#include "python/bindings/keywords.h"
#include "python/bindings/models.h"

namespace gradwise::python {
namespace {

constexpr const char* kKronecker = "kronecker_factors";
using Release = py::call_guard<WithoutLock>;

// By the loss's name, or by a loss function at the targets of the data, for which `fisher` plays no part.
std::unique_ptr<KroneckerFactors> kronecker_factors_of(const py::object& model, const py::object& loss,
                                                       const py::object& batches, const py::dict& fisher,
                                                       const py::dict& keywords, const py::object& progress) {
  const Model adapted = adapt_module(model);
  const bool by_name = py::isinstance<py::str>(loss);
  const auto name = by_name ? loss.cast<std::string>() : std::string();
  const LossFunction loss_function = by_name ? LossFunction() : adapt_loss(loss);
  const auto fisher_options = options_from<FisherOptions>(kKronecker, fisher);
  auto options = options_from<KroneckerOptions>(kKronecker, keywords);
  if (!progress.is_none()) {
    options.progress = [held = hold(progress)](std::int64_t done, std::int64_t total) {
      with_python([&] { (*held)(done, total); });
    };
  }
  const std::unique_ptr<BatchSource> source = adapt_data(batches);
  const WithoutLock released;
  return by_name ? std::make_unique<KroneckerFactors>(adapted, name, read_batches(*source), fisher_options, options)
                 : std::make_unique<KroneckerFactors>(adapted, loss_function, read_batches(*source), options);
}

py::list dicts_of(const std::vector<KroneckerBlock>& blocks) {
  py::list dicts;
  for (const KroneckerBlock& block : blocks) {
    py::dict dict;
    dict["name"] = block.name;
    dict["input_factor"] = block.input_factor;
    dict["gradient_factor"] = block.gradient_factor;
    dict["eigenvalues"] = block.eigenvalues;
    dicts.append(dict);
  }
  return dicts;
}

std::unique_ptr<KroneckerInverse> inverse_of(const KroneckerFactors& self, double damping, bool factored) {
  const WithoutLock released;
  // An operator is made in its place, as it can't be moved.
  return std::unique_ptr<KroneckerInverse>(
      new KroneckerInverse(factored ? self.factored_inverse(damping) : self.inverse(damping)));
}

}  // namespace

void bind_kronecker(py::module_& module) {
  py::class_<KroneckerInverse, LinearOperator>(module, "KroneckerInverse");
  py::class_<KroneckerFactors, LinearOperator>(module, "KroneckerFactors", doc::KroneckerFactors)
      .def(py::init(&kronecker_factors_of))
      .def("parameter_names", [](const KroneckerFactors& self) { return self.parameters().names; })
      .def("left_out", &KroneckerFactors::left_out)
      .def("samples", &KroneckerFactors::samples)
      .def("blocks", [](const KroneckerFactors& self) { return dicts_of(self.blocks()); })
      .def("inverse", &inverse_of)
      .def("eigenvalues", &KroneckerFactors::eigenvalues, Release())
      .def("exact_trace", &KroneckerFactors::trace, Release())
      .def("exact_frobenius_norm", &KroneckerFactors::frobenius_norm, Release())
      .def("exact_log_determinant", &KroneckerFactors::log_determinant, Release());
}

}  // namespace gradwise::python
