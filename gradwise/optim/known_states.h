#pragma once

#include <algorithm>
#include <concepts>
#include <iterator>
#include <memory>
#include <string>

#include "gradwise/optim/fused_optimizer.h"
#include "gradwise/optim/param_state_members.h"

/// Private to torch_optimizers.cpp: the optimizers whose states are saved by name, and how.
namespace gradwise {

template <class ParamState>
bool save_as(torch::optim::OptimizerParamState& state, State& into, const std::string& name) {
  auto* known = dynamic_cast<ParamState*>(&state);
  if (known != nullptr) {
    SaveMembers save{into, name};
    members(save, *known);
  }
  return known != nullptr;
}

template <class ParamState>
std::unique_ptr<torch::optim::OptimizerParamState> load_as(const State& from, const std::string& name,
                                                           const at::Tensor& parameter) {
  auto fresh = std::make_unique<ParamState>();
  LoadMembers load{from, name, parameter, std::same_as<ParamState, torch::optim::LBFGSParamState>};
  members(load, *fresh);
  return fresh;
}

/// One row a known optimizer: how its parameters' states are saved and loaded.
struct KnownState {
  const char* name;
  bool (*matches)(const torch::optim::Optimizer&);
  bool (*save)(torch::optim::OptimizerParamState&, State&, const std::string&);
  std::unique_ptr<torch::optim::OptimizerParamState> (*load)(const State&, const std::string&, const at::Tensor&);
};

template <class TorchOptimizer, class ParamState>
constexpr KnownState known_state(const char* name) {
  return {name,
          [](const torch::optim::Optimizer& optimizer) {
            return dynamic_cast<const TorchOptimizer*>(&optimizer) != nullptr;
          },
          &save_as<ParamState>, &load_as<ParamState>};
}

/// The names are those of LibTorch's optimizers with the same state, which either can load from the other.
template <UpdateRule rule, bool decoupled>
constexpr KnownState fused_state(const char* name) {
  return {name,
          [](const torch::optim::Optimizer& optimizer) {
            const auto* fused = dynamic_cast<const FusedOptimizer*>(&optimizer);
            const auto* options =
                fused == nullptr ? nullptr : &static_cast<const FusedOptions&>(optimizer.param_groups()[0].options());
            return options != nullptr && options->rule == rule && options->decoupled == decoupled;
          },
          &save_as<FusedState>,
          [](const State& from, const std::string& parameter_name,
             const at::Tensor& parameter) -> std::unique_ptr<torch::optim::OptimizerParamState> {
            auto fresh = std::make_unique<FusedState>(rule);
            LoadMembers load{from, parameter_name, parameter, /*flat=*/false};
            members(load, *fresh);
            // Of a state without a count it has to be known that there was a first step.
            if (fresh->step == 0 && fresh->first.defined()) {
              fresh->step = 1;
            }
            return fresh;
          }};
}

/// Null for an optimizer that is neither LibTorch's own nor fused.
inline const KnownState* known_state_of(const torch::optim::Optimizer& optimizer) {
  static constexpr KnownState kKnown[] = {
      fused_state<UpdateRule::adam, true>("AdamW"),
      fused_state<UpdateRule::adam, false>("Adam"),
      fused_state<UpdateRule::sgd, false>("SGD"),
      fused_state<UpdateRule::rmsprop, false>("RMSprop"),
      fused_state<UpdateRule::adagrad, false>("Adagrad"),
      fused_state<UpdateRule::lion, true>("Lion"),
      known_state<torch::optim::AdamW, torch::optim::AdamWParamState>("AdamW"),
      known_state<torch::optim::Adam, torch::optim::AdamParamState>("Adam"),
      known_state<torch::optim::SGD, torch::optim::SGDParamState>("SGD"),
      known_state<torch::optim::RMSprop, torch::optim::RMSpropParamState>("RMSprop"),
      known_state<torch::optim::Adagrad, torch::optim::AdagradParamState>("Adagrad"),
      known_state<torch::optim::LBFGS, torch::optim::LBFGSParamState>("LBFGS"),
  };
  const auto* found = std::ranges::find_if(kKnown, [&optimizer](const KnownState& k) { return k.matches(optimizer); });
  return found == std::end(kKnown) ? nullptr : found;
}

}  // namespace gradwise
