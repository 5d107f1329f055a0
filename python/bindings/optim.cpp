#include <cmath>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "gradwise/core/error.h"
#include "gradwise/optim/clipping.h"
#include "gradwise/optim/ema.h"
#include "gradwise/optim/fused_optimizer.h"
#include "gradwise/optim/gradient_pass.h"
#include "python/bindings/docstrings.h"
#include "python/bindings/fused.h"
#include "python/bindings/groups.h"
#include "python/bindings/held.h"
#include "python/bindings/keywords.h"
#include "python/bindings/states.h"

namespace gradwise::python {
namespace {

using Release = py::call_guard<py::gil_scoped_release>;

NamedParameters named(const std::vector<std::string>& names, const std::vector<at::Tensor>& tensors) {
  return {names, tensors};
}

// Keys of a torch.optim parameter group; those that a rule has no use for are not there.
void read_group(const py::dict& group, FusedOptions& options) {
  const auto number = [&group](const char* key, double& value) {
    if (group.contains(key)) {
      value = py::float_(group[key]).cast<double>();
    }
  };
  const auto flag = [&group](const char* key, bool& value) {
    if (group.contains(key)) {
      value = group[key].cast<bool>();
    }
  };
  number("lr", options.lr);
  number("weight_decay", options.weight_decay);
  number("eps", options.eps);
  number("momentum", options.momentum);
  number("dampening", options.dampening);
  flag("amsgrad", options.amsgrad);
  flag("maximize", options.maximize);
  flag("nesterov", options.nesterov);
  if (group.contains("betas")) {
    const auto betas = group["betas"].cast<py::sequence>();
    options.beta1 = py::float_(betas[0]).cast<double>();
    options.beta2 = py::float_(betas[1]).cast<double>();
  }
}

std::vector<at::Tensor> tensors_of(const py::handle& list) {
  std::vector<at::Tensor> tensors;
  for (const py::handle& item : list) {
    tensors.push_back(THPVariable_Unpack(item.ptr()));
  }
  return tensors;
}

}  // namespace

Fused::Fused(const std::string& rule, bool decoupled, const py::list& param_groups) {
  FusedOptions base;
  base.rule = rule == "sgd" ? UpdateRule::sgd : UpdateRule::adam;
  base.decoupled = decoupled;
  std::vector<torch::optim::OptimizerParamGroup> groups;
  for (const py::handle& group : param_groups) {
    groups.emplace_back(tensors_of(group["params"]), std::make_unique<FusedOptions>(base));
  }
  optimizer_ = std::make_unique<FusedOptimizer>(groups, base);
  read_groups(param_groups);
}

void Fused::read_groups(const py::list& param_groups) {
  std::size_t i = 0;
  for (const py::handle& group : param_groups) {
    read_group(group.cast<py::dict>(), static_cast<FusedOptions&>(optimizer_->param_groups().at(i++).options()));
  }
}

double Fused::gradient_norm() {
  std::vector<at::Tensor> gradients;
  for (const at::Tensor& parameter : optimizer_->ordered_parameters()) {
    if (parameter.grad().defined()) {
      gradients.push_back(parameter.grad());
    }
  }
  return GradientPass::reads(gradients) ? pass_.norm(gradients) : global_norm(gradients).item<double>();
}

void Fused::update(double grad_scale, ExponentialMovingAverage* average) {
  if (average == nullptr) {
    optimizer_->update({.grad_scale = grad_scale});
    return;
  }
  const std::vector<at::Tensor> averages = optimizer_->averages_by_place(*average);
  if (averages.empty()) {
    optimizer_->update({.grad_scale = grad_scale});
    average->update();
    return;
  }
  const double share = average->begin_update();
  optimizer_->update({.grad_scale = grad_scale,
                      .averages = share != 0 ? std::span<const at::Tensor>(averages) : std::span<const at::Tensor>(),
                      .average_share = share});
  average->finish_update();
}

std::tuple<double, double, double> Fused::statistics() const {
  WeightMoments all;
  for (const WeightMoments& moments : optimizer_->weight_moments()) {
    all.merge(moments);
  }
  return {std::sqrt(all.sum_squares), std::sqrt(all.update_squares),
          std::sqrt(all.update_squares / all.squares_before)};
}

py::object Fused::lines(std::size_t index) {
  const auto found = optimizer_->state().find(optimizer_->ordered_parameters().at(index).unsafeGetTensorImpl());
  if (found == optimizer_->state().end()) {
    return py::none();
  }
  const auto& state = static_cast<const FusedState&>(*found->second);
  const auto line = [](const at::Tensor& tensor) { return tensor.defined() ? py::cast(tensor) : py::none(); };
  return py::make_tuple(state.step, line(state.first), line(state.second), line(state.third));
}

void Fused::set_lines(std::size_t index, std::int64_t step, const py::object& first, const py::object& second,
                      const py::object& third) {
  const at::Tensor& parameter = optimizer_->ordered_parameters().at(index);
  const auto line = [&parameter](const py::object& given) {
    if (given.is_none()) {
      return at::Tensor();
    }
    const at::Tensor tensor = given.cast<at::Tensor>();
    GRADWISE_CHECK(tensor.sizes() == parameter.sizes(), "optimizer", "a loaded moment has shape ", tensor.sizes(),
                   ", its parameter ", parameter.sizes());
    return tensor;
  };
  const auto& options = static_cast<const FusedOptions&>(optimizer_->param_groups().front().options());
  auto state = std::make_unique<FusedState>(options.rule);
  state->step = step;
  state->first = line(first);
  state->second = line(second);
  state->third = line(third);
  optimizer_->state()[parameter.unsafeGetTensorImpl()] = std::move(state);
  optimizer_->forget_state();
}

void bind_optim(py::module_& module) {
  py::class_<ExponentialMovingAverage>(module, "ExponentialMovingAverage", doc::ExponentialMovingAverage)
      .def(py::init([](const std::vector<std::string>& names, const std::vector<at::Tensor>& tensors,
                       const std::vector<std::string>& buffer_names, const std::vector<at::Tensor>& buffers,
                       const py::dict& options) {
        return std::make_unique<ExponentialMovingAverage>(
            named(names, tensors), options_from<EmaOptions>("ema", options), named(buffer_names, buffers));
      }))
      .def("update", &ExponentialMovingAverage::update, Release())
      .def("copy_to", &ExponentialMovingAverage::copy_to, Release())
      .def("averages", [](const ExponentialMovingAverage& self) { return self.averages().tensors; })
      .def("num_updates", &ExponentialMovingAverage::num_updates)
      .def("decay", &ExponentialMovingAverage::decay)
      .def("every", &ExponentialMovingAverage::every)
      .def("state", [](const ExponentialMovingAverage& self) { return tuple_of(self.state()); })
      .def("load_state", [](ExponentialMovingAverage& self, const std::string& values,
                            const py::dict& tensors) { self.load_state(state_from(values, tensors)); })
      .def("to_device", [](ExponentialMovingAverage& self, at::Device device) { self.to(device); })
      .def("to_dtype", [](ExponentialMovingAverage& self, at::ScalarType dtype) { self.to(dtype); });

  module.def("clip_coefficient", &clip_coefficient, doc::clip_coefficient);
  py::class_<Fused>(module, "FusedOptimizer", doc::FusedOptimizer)
      .def(py::init<const std::string&, bool, const py::list&>())
      .def("read_groups", &Fused::read_groups)
      .def("gradient_norm", &Fused::gradient_norm, Release())
      .def("update", &Fused::update, Release(), py::arg("grad_scale"), py::arg("average").none(true))
      .def("statistics", &Fused::statistics)
      .def("measures", [](const Fused& self) { return self.get().measures(); })
      .def("measure_standing", [](Fused& self) { self.get().measure_standing(); })
      .def("lines", &Fused::lines)
      .def("set_lines", &Fused::set_lines);
}

}  // namespace gradwise::python
