#include "gradwise/autograd/per_sample/per_sample_gradients.h"

#include <torch/csrc/utils/pybind.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "python/bindings/docstrings.h"
#include "python/bindings/groups.h"
#include "python/bindings/interpreter_lock.h"
#include "python/bindings/models.h"

namespace gradwise::python {
namespace {

py::dict dict_of_tensors(const NamedParameters& tensors) {
  py::dict dict;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    dict[py::str(tensors.names[i])] = tensors.tensors[i];
  }
  return dict;
}

// Calls a quantity of `self` for a batch, without the interpreter lock.
template <class Quantity>
auto of_batch(PerSampleGradients& self, const at::Tensor& input, const std::optional<at::Tensor>& target,
              const Quantity& quantity) {
  const WithoutLock released;
  return std::invoke(quantity, self, input, target.value_or(at::Tensor()));
}

using Target = std::optional<at::Tensor>;

py::dict sample_gradients(PerSampleGradients& self, const at::Tensor& input, const Target& target) {
  return dict_of_tensors(of_batch(self, input, target, &PerSampleGradients::gradients));
}

py::tuple sample_norms(PerSampleGradients& self, const at::Tensor& input, const Target& target) {
  const SampleNorms found = of_batch(self, input, target, &PerSampleGradients::norms);
  return py::make_tuple(found.norms, dict_of_tensors({self.parameters().names, found.parameter_norms}));
}

py::dict sample_moments(PerSampleGradients& self, const at::Tensor& input, const Target& target) {
  const SampleMoments found = of_batch(self, input, target, &PerSampleGradients::moments);
  py::dict dict;
  dict["mean"] = dict_of_tensors(found.mean);
  dict["second_moment"] = dict_of_tensors(found.second_moment);
  dict["signal_to_noise"] = dict_of_tensors(found.signal_to_noise);
  return dict;
}

py::tuple sample_clipped_gradient(PerSampleGradients& self, const at::Tensor& input, const Target& target,
                                  double max_norm) {
  const ClippedGradient found =
      of_batch(self, input, target, [max_norm](PerSampleGradients& s, const at::Tensor& x, const at::Tensor& y) {
        return s.clipped_gradient(x, y, max_norm);
      });
  return py::make_tuple(dict_of_tensors(found.gradient), found.norms);
}

py::dict sample_noise_scale(PerSampleGradients& self, const at::Tensor& input, const Target& target) {
  const SampleNoise found = of_batch(self, input, target, &PerSampleGradients::noise_scale);
  py::dict dict;
  dict["variance"] = found.variance;
  dict["squared_norm"] = found.squared_norm;
  dict["noise_scale"] = found.noise_scale;
  return dict;
}

at::Tensor sample_inner_products(PerSampleGradients& self, const at::Tensor& input, const Target& target) {
  return of_batch(self, input, target, &PerSampleGradients::inner_products);
}

}  // namespace

void bind_per_sample(py::module_& module) {
  py::class_<PerSampleGradients>(module, "PerSampleGradients", doc::PerSampleGradients)
      .def(py::init([](const py::object& model, const py::object& loss_function) {
        return std::make_unique<PerSampleGradients>(adapt_module(model), adapt_loss(loss_function));
      }))
      .def("gradients", &sample_gradients)
      .def("norms", &sample_norms)
      .def("inner_products", &sample_inner_products)
      .def("moments", &sample_moments)
      .def("clipped_gradient", &sample_clipped_gradient)
      .def("noise_scale", &sample_noise_scale)
      .def("loop_reason", &PerSampleGradients::loop_reason);
}

}  // namespace gradwise::python
