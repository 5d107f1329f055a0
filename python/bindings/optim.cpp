#include <ATen/ops/zeros.h>

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

namespace gradwise::python {
namespace {

using Release = py::call_guard<WithoutLock>;

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
  number("alpha", options.alpha);
  number("lr_decay", options.lr_decay);
  number("initial_accumulator_value", options.initial_accumulator);
  flag("amsgrad", options.amsgrad);
  flag("maximize", options.maximize);
  flag("nesterov", options.nesterov);
  flag("centered", options.centered);
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

UpdateRule update_rule_named(const std::string& name) {
  return name == "sgd"       ? UpdateRule::sgd
         : name == "rmsprop" ? UpdateRule::rmsprop
         : name == "adagrad" ? UpdateRule::adagrad
         : name == "lion"    ? UpdateRule::lion
                             : UpdateRule::adam;
}

}  // namespace

Fused::Fused(const std::string& rule, bool decoupled, const py::list& param_groups, bool parity, bool bfloat16_state,
             bool stochastic_rounding) {
  FusedOptions base;
  base.rule = update_rule_named(rule);
  base.decoupled = decoupled;
  base.parity = parity;
  base.bfloat16_state = bfloat16_state;
  base.stochastic_rounding = stochastic_rounding;
  std::vector<torch::optim::OptimizerParamGroup> groups;
  for (const py::handle& group : param_groups) {
    groups.emplace_back(tensors_of(group["params"]), std::make_unique<FusedOptions>(base));
  }
  optimizer_ = std::make_unique<FusedOptimizer>(groups, base);
  const std::vector<at::Tensor>& parameters = optimizer_->ordered_parameters();
  for (const at::Tensor& parameter : parameters) {
    trained_.push_back(parameter.requires_grad());
  }
  counts_ = at::zeros({static_cast<std::int64_t>(parameters.size())}, at::kFloat);
  (void)read_groups(param_groups);
}

bool Fused::holds(const py::list& param_groups) const {
  const std::vector<at::Tensor>& parameters = optimizer_->ordered_parameters();
  std::size_t place = 0;
  for (const py::handle& group : param_groups) {
    for (const py::handle& item : py::list(group["params"])) {
      if (place == parameters.size() || !THPVariable_Check(item.ptr())) {
        return false;
      }
      const at::Tensor& given = THPVariable_Unpack(item.ptr());
      if (!given.is_same(parameters[place]) || (!trained_[place] && given.requires_grad())) {
        return false;
      }
      ++place;
    }
  }
  return place == parameters.size();
}

bool Fused::read_groups(const py::list& param_groups) {
  const std::vector<torch::optim::OptimizerParamGroup>& groups = optimizer_->param_groups();
  bool same = param_groups.size() == groups.size() && holds(param_groups);
  for (std::size_t g = 0; same && g < groups.size(); ++g) {
    same = py::len(param_groups[g]["params"]) == groups[g].params().size();
  }
  if (!same) {
    return false;
  }
  std::size_t i = 0;
  for (const py::handle& group : param_groups) {
    read_group(group.cast<py::dict>(), static_cast<FusedOptions&>(optimizer_->param_groups().at(i++).options()));
  }
  return true;
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

// The counts are shared with Python, which may have set them.
void Fused::update(double grad_scale, const std::vector<at::Tensor>& averaged, const std::vector<at::Tensor>& averages,
                   double share) {
  auto* counts = counts_.mutable_data_ptr<float>();
  for (std::size_t i = 0; i < trained_.size(); ++i) {
    if (FusedState* state = optimizer_->state_at(i); state != nullptr && counts[i] != static_cast<float>(state->step)) {
      state->step = static_cast<std::int64_t>(counts[i]);
    }
  }
  run(grad_scale, averaged, averages, share);
  for (std::size_t i = 0; i < trained_.size(); ++i) {
    if (const FusedState* state = optimizer_->state_at(i); state != nullptr) {
      counts[i] = static_cast<float>(state->step);
    }
  }
}

void Fused::run(double grad_scale, const std::vector<at::Tensor>& averaged, const std::vector<at::Tensor>& averages,
                double share) {
  if (share == 0) {
    optimizer_->update({.grad_scale = grad_scale});
    return;
  }
  const std::vector<at::Tensor> along = optimizer_->averages_by_place(averaged, averages);
  optimizer_->update({.grad_scale = grad_scale, .averages = along, .average_share = share});
  if (along.empty()) {
    move_averages(averages, averaged, share);
  }
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
  const FusedState* state = optimizer_->state_at(index);
  if (state == nullptr) {
    return py::none();
  }
  const auto line = [](const at::Tensor& tensor) { return tensor.defined() ? py::cast(tensor) : py::none(); };
  return py::make_tuple(counts_[static_cast<std::int64_t>(index)], line(state->first), line(state->second),
                        line(state->third));
}

void Fused::forget(std::size_t index) {
  optimizer_->state().erase(optimizer_->ordered_parameters().at(index).unsafeGetTensorImpl());
  optimizer_->forget_state();
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
  counts_.mutable_data_ptr<float>()[index] = static_cast<float>(step);
}

void bind_optim(py::module_& module) {
  module.def("average_decay", [](double decay, bool warm_up, std::int64_t update) {
    return average_decay({.decay = decay, .warmup = warm_up}, update);
  });
  module.def("move_averages", &move_averages, doc::move_averages, Release());
  module.def("clip_coefficient", &clip_coefficient, doc::clip_coefficient);
  py::class_<Fused>(module, "FusedOptimizer", doc::FusedOptimizer)
      .def(py::init<const std::string&, bool, const py::list&, bool, bool, bool>(), py::arg("rule"),
           py::arg("decoupled"), py::arg("param_groups"), py::arg("parity"), py::arg("bfloat16_state"),
           py::arg("stochastic_rounding"))
      .def("read_groups", &Fused::read_groups)
      .def("gradient_norm", &Fused::gradient_norm, Release())
      .def("update", &Fused::update, Release())
      .def("statistics", &Fused::statistics, Release())
      .def("measures", [](const Fused& self) { return self.get().measures(); })
      .def(
          "measure_standing", [](Fused& self) { self.get().measure_standing(); }, Release())
      .def("layout", [](const Fused& self) { return self.get().layout(); })
      .def("lines", &Fused::lines)
      .def("set_lines", &Fused::set_lines)
      .def("forget", &Fused::forget);
}

}  // namespace gradwise::python
