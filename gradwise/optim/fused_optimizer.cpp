#include "gradwise/optim/fused_optimizer.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_lerp.h>

#include <algorithm>
#include <map>
#include <string>

#include "gradwise/core/error.h"
#include "gradwise/core/named_parameters.h"
#include "gradwise/core/tensor_memory.h"
#include "gradwise/kernels/weight_moments.h"
#include "gradwise/optim/parameter_memory.h"

namespace gradwise {

FusedOptimizer::FusedOptimizer(const std::vector<torch::optim::OptimizerParamGroup>& groups,
                               const FusedOptions& defaults)
    : Optimizer(groups, std::make_unique<FusedOptions>(defaults)) {
  std::size_t group = 0;
  NamedParameters numbered;
  for (const torch::optim::OptimizerParamGroup& given : param_groups()) {
    for (const at::Tensor& parameter : given.params()) {
      numbered.add("parameter " + std::to_string(ordered_.size()), parameter);
      places_.emplace(parameter.unsafeGetTensorImpl(), ordered_.size());
      ordered_.push_back(parameter);
      slots_.emplace_back().group = group;
      slots_.back().trains = parameter.requires_grad();
      all_.push_back(all_.size());
    }
    ++group;
  }
  numbered.check_types("optimizer");
  refuse_shared_parameters();
  moments_.resize(slots_.size());
}

std::optional<std::size_t> FusedOptimizer::place_of(const at::Tensor& parameter) const {
  const auto found = places_.find(parameter.unsafeGetTensorImpl());
  return found == places_.end() ? std::nullopt : std::optional(found->second);
}

std::vector<at::Tensor> FusedOptimizer::averages_by_place(const std::vector<at::Tensor>& sources,
                                                          const std::vector<at::Tensor>& averages) const {
  GRADWISE_CHECK(averages.size() == sources.size(), "optimizer", "there are ", averages.size(), " averages for ",
                 sources.size(), " parameters");
  std::vector<at::Tensor> ordered(ordered_.size());
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const std::optional<std::size_t> place = place_of(sources[i]);
    const at::Tensor& shadow = averages[i];
    if (!place || shadow.scalar_type() != sources[i].scalar_type() || shadow.device() != sources[i].device() ||
        shadow.sizes() != sources[i].sizes() || shadow.strides() != sources[i].strides()) {
      return {};
    }
    ordered[*place] = shadow;
  }
  return ordered;
}

const FusedOptions& FusedOptimizer::options_of(const Slot& slot) {
  return static_cast<const FusedOptions&>(param_groups()[slot.group].options());
}

bool FusedOptimizer::measures() const {
  return std::ranges::all_of(all_, [this](std::size_t i) { return !trains(i) || kernels_read(ordered_[i]); });
}

// What the pass does not take: sparse gradients one by one, dense ones together where they are at the same step.
void FusedOptimizer::step_by_operators(const std::vector<std::size_t>& indices, const Riders& riders) {
  std::map<std::pair<std::size_t, std::int64_t>, ComposedStep> together;
  std::map<std::size_t, at::Tensor> before;
  for (const std::size_t i : indices) {
    const at::Tensor& parameter = ordered_[i];
    const at::Tensor& grad = parameter.grad();
    const at::Tensor gradient = riders.grad_scale == 1 ? grad : grad.mul(riders.grad_scale);
    const FusedState& lines = *slots_[i].state;
    if (kernels_read(parameter)) {
      before.emplace(i, parameter.detach().clone(at::MemoryFormat::Contiguous));
    }
    if (gradient.is_sparse()) {
      sparse_update(options_of(slots_[i]), lines.step, parameter, gradient, lines);
      continue;
    }
    ComposedStep& step = together[{slots_[i].group, lines.step}];
    step.parameters.push_back(parameter);
    step.gradients.push_back(gradient);
    const auto add = [](std::vector<at::Tensor>& list, const at::Tensor& line) {
      if (line.defined()) {
        list.push_back(line);
      }
    };
    add(step.first, lines.first);
    add(step.second, lines.second);
    add(step.third, lines.third);
  }
  for (const auto& [key, step] : together) {
    composed_update(static_cast<const FusedOptions&>(param_groups()[key.first].options()), key.second, step);
  }
  for (const std::size_t i : indices) {
    if (!riders.averages.empty() && riders.averages[i].defined()) {
      at::_foreach_lerp_({riders.averages[i]}, {ordered_[i]}, riders.average_share);
    }
    if (const auto found = before.find(i); found != before.end()) {
      measure_by_copy(i, found->second);
    }
  }
}

void FusedOptimizer::measure_by_copy(std::size_t index, const at::Tensor& before) {
  const at::Tensor now = ordered_[index].detach().contiguous();
  moments_[index] = kernels::read_weights(now.const_data_ptr(), before.mutable_data_ptr(),
                                          static_cast<std::size_t>(now.numel()), element_of(now));
}

void FusedOptimizer::measure_standing() {
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].stepped || !trains(i) || !kernels_read(ordered_[i])) {
      continue;
    }
    if (moments_[i].count == 0) {
      measure_by_copy(i, ordered_[i].detach().clone(at::MemoryFormat::Contiguous));
    }
    moments_[i].update_squares = 0;
    moments_[i].squares_before = moments_[i].sum_squares;
  }
}

// Steps those of the parameters that have a gradient; errors come before anything moves.
void FusedOptimizer::update_some(const std::vector<std::size_t>& indices, const Riders& riders) {
  const at::NoGradGuard no_grad;
  while (!look(indices, riders)) {
    arrange();
  }
  for (const std::size_t i : indices) {
    if (slots_[i].way == Way::none || slots_[i].way == Way::ready) {
      continue;
    }
    check_gradient(ordered_[i], *slots_[i].gradient, i);
    check_average(i, riders);
    if (slots_[i].gradient->is_sparse()) {
      check_takes_sparse(options_of(slots_[i]));
    }
  }
  work_.clear();
  coefficients_.clear();
  std::vector<std::size_t> by_operators;
  for (const std::size_t i : indices) {
    Slot& slot = slots_[i];
    slot.stepped = slot.way != Way::none;
    if (!slot.stepped) {
      continue;
    }
    ++state_of(i).step;
    if (slot.way == Way::by_operators) {
      by_operators.push_back(i);
      continue;
    }
    if (slot.way == Way::after_copies) {
      make_ready(i, riders);
    }
    add_to_pass(i, riders);
  }
  run_pass();
  step_by_operators(by_operators, riders);
  for (const std::size_t i : indices) {
    slots_[i].rearranged.reset();
  }
}

void FusedOptimizer::update(const Riders& riders) {
  GRADWISE_CHECK(riders.averages.empty() || riders.averages.size() == slots_.size(), "optimizer", "there are ",
                 riders.averages.size(), " averages for ", slots_.size(), " parameters");
  update_some(all_, riders);
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (!slots_[i].stepped && !riders.averages.empty() && riders.averages[i].defined()) {
      at::_foreach_lerp_({riders.averages[i]}, {ordered_[i]}, riders.average_share);
    }
  }
  end_partial_step();
}

void FusedOptimizer::update_one(std::size_t index, const Riders& riders) { update_some({index}, riders); }

void FusedOptimizer::end_partial_step() {
  measure_standing();
  for (Slot& slot : slots_) {
    slot.stepped = false;
  }
}

torch::Tensor FusedOptimizer::step(LossClosure closure) {
  torch::Tensor loss;
  if (closure) {
    const at::AutoGradMode with_grad(true);
    loss = closure();
  }
  update({});
  return loss;
}

}  // namespace gradwise
