#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty_like.h>
#include <torch/optim/adagrad.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/lbfgs.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>

#include <concepts>
#include <cstdint>
#include <deque>
#include <string>

#include "gradwise/core/error.h"
#include "gradwise/core/state.h"
#include "gradwise/optim/fused_options.h"

/// Private to torch_optimizers.cpp: what each optimizer remembers of a parameter, to be saved and loaded by name.
namespace gradwise {

/// Lists a state's members to a visitor, by the names of torch's state_dict.
template <class Visitor>
void members(Visitor& visit, FusedState& s) {
  switch (s.rule) {
    case UpdateRule::adam:
      visit("step", s.step);
      visit("exp_avg", s.first);
      visit("exp_avg_sq", s.second);
      visit("max_exp_avg_sq", s.third);
      break;
    case UpdateRule::sgd:  // counts steps for its random rounding alone
      visit("step", s.step);
      visit("momentum_buffer", s.first);
      break;
    case UpdateRule::rmsprop:
      visit("step", s.step);
      visit("square_avg", s.second);
      visit("momentum_buffer", s.first);
      visit("grad_avg", s.third);
      break;
    case UpdateRule::adagrad:
      visit("step", s.step);
      visit("sum", s.second);
      break;
    case UpdateRule::lion:
      visit("step", s.step);
      visit("exp_avg", s.first);
      break;
  }
}
template <class Visitor, class AdamState>
  requires std::same_as<AdamState, torch::optim::AdamParamState> ||
           std::same_as<AdamState, torch::optim::AdamWParamState>
void members(Visitor& visit, AdamState& s) {
  visit("step", s.step());
  visit("exp_avg", s.exp_avg());
  visit("exp_avg_sq", s.exp_avg_sq());
  visit("max_exp_avg_sq", s.max_exp_avg_sq());
}
template <class Visitor>
void members(Visitor& visit, torch::optim::SGDParamState& s) {
  visit("momentum_buffer", s.momentum_buffer());
}
template <class Visitor>
void members(Visitor& visit, torch::optim::RMSpropParamState& s) {
  visit("step", s.step());
  visit("square_avg", s.square_avg());
  visit("momentum_buffer", s.momentum_buffer());
  visit("grad_avg", s.grad_avg());
}
template <class Visitor>
void members(Visitor& visit, torch::optim::AdagradParamState& s) {
  visit("step", s.step());
  visit("sum", s.sum());
}

template <class Visitor>
void members(Visitor& visit, torch::optim::LBFGSParamState& s) {
  visit("func_evals", s.func_evals());
  visit("n_iter", s.n_iter());
  visit("t", s.t());
  visit("prev_loss", s.prev_loss());
  visit("d", s.d());
  visit("H_diag", s.H_diag());
  visit("prev_flat_grad", s.prev_flat_grad());
  visit("old_dirs", s.old_dirs());
  visit("old_stps", s.old_stps());
  visit("ro", s.ro());
}

/// Visitor that writes the state of the parameter `name`.
struct SaveMembers {
  State& into;
  const std::string& name;
  void operator()(const char* member, const at::Tensor& tensor) const {
    if (tensor.defined()) {
      into.tensors[name + "/" + member] = tensor;
    }
  }
  void operator()(const char* member, std::int64_t count) const { into.values["state"][name][member] = count; }
  void operator()(const char* member, double value) const {
    into.values["state"][name][member] = to_json_number(value);
  }
  void operator()(const char* member, const std::deque<at::Tensor>& history) const {
    into.values["state"][name][member] = history.size();
    for (std::size_t i = 0; i < history.size(); ++i) {
      into.tensors[name + "/" + member + "/" + std::to_string(i)] = history[i];
    }
  }
};

/// Visitor that reads it; an error where a tensor has another shape than the parameter.
struct LoadMembers {
  const State& from;
  const std::string& name;
  const at::Tensor& parameter;
  bool flat;  // LBFGS keeps vectors over all parameters, not tensors of one parameter's shape
  void operator()(const char* member, at::Tensor& tensor) const {
    const auto found = from.tensors.find(name + "/" + member);
    if (found == from.tensors.end()) {
      return;
    }
    if (flat) {
      tensor = found->second.to(parameter.device()).clone();
      return;
    }
    const bool fits = found->second.dim() == 0 || found->second.sizes() == parameter.sizes();
    GRADWISE_CHECK(fits, "optimizer", "the saved ", member, " of \"", name, "\" has shape ", found->second.sizes(),
                   ", the parameter ", parameter.sizes());
    // In the parameter's memory layout, which the fused kernels take for granted.
    tensor = found->second.dim() == 0 ? found->second.to(parameter.device()).clone()
                                      : at::empty_like(parameter, found->second.scalar_type()).copy_(found->second);
  }
  void operator()(const char* member, std::int64_t& count) const {
    count = from.values.at("state").at(name).value(member, count);  // LibTorch's SGD counts none
  }
  void operator()(const char* member, double& value) const {
    value = from_json_number(from.values.at("state").at(name).at(member));
  }
  void operator()(const char* member, std::deque<at::Tensor>& history) const {
    const auto length = from.values.at("state").at(name).at(member).get<std::size_t>();
    for (std::size_t i = 0; i < length; ++i) {
      history.push_back(from.tensors.at(name + "/" + member + "/" + std::to_string(i)).to(parameter.device()).clone());
    }
  }
};

}  // namespace gradwise
