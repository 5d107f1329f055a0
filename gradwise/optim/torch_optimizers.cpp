#include "gradwise/optim/torch_optimizers.h"

#include <torch/optim/adagrad.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/lbfgs.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>
#include <torch/serialize.h>

#include <cstring>
#include <map>
#include <sstream>
#include <utility>

#include "gradwise/optim/closure_driven.h"
#include "gradwise/optim/fused_optimizer.h"
#include "gradwise/optim/known_states.h"
#include "gradwise/optim/parameter_groups.h"
#include "gradwise/optim/scheduler.h"

namespace gradwise {
namespace {

using torch::optim::OptimizerParamGroup;
using torch::optim::OptimizerParamState;

UpdateRule rule_of(const std::string& name) {
  return name == "sgd"       ? UpdateRule::sgd
         : name == "rmsprop" ? UpdateRule::rmsprop
         : name == "adagrad" ? UpdateRule::adagrad
         : name == "lion"    ? UpdateRule::lion
                             : UpdateRule::adam;
}

FusedOptions fused_options(const OptimizerOptions& o, const GroupSetting& s) {
  FusedOptions options;
  options.rule = rule_of(o.name);
  options.lr = s.lr;
  options.weight_decay = s.weight_decay;
  options.decoupled = is_decay_decoupled(o.name);
  options.maximize = o.maximize;
  options.beta1 = o.beta1;
  options.beta2 = o.beta2;
  options.eps = o.eps;
  options.amsgrad = o.amsgrad;
  options.momentum = o.momentum;
  options.dampening = o.dampening;
  options.nesterov = o.nesterov;
  options.alpha = o.alpha;
  options.centered = o.centered;
  options.lr_decay = o.lr_decay;
  options.initial_accumulator = o.initial_accumulator;
  options.bfloat16_state = o.state_dtype == "bfloat16";
  options.stochastic_rounding = o.stochastic_rounding;
  options.rounding_seed = static_cast<std::uint32_t>(o.rounding_seed);
  options.parity = o.parity;
  return options;
}

template <class AdamOptions>
AdamOptions adam_options(const OptimizerOptions& o, const GroupSetting& s) {
  return AdamOptions(s.lr).betas({o.beta1, o.beta2}).eps(o.eps).weight_decay(s.weight_decay).amsgrad(o.amsgrad);
}

torch::optim::SGDOptions sgd_options(const OptimizerOptions& o, const GroupSetting& s) {
  return torch::optim::SGDOptions(s.lr)
      .momentum(o.momentum)
      .dampening(o.dampening)
      .nesterov(o.nesterov)
      .weight_decay(s.weight_decay);
}

torch::optim::RMSpropOptions rmsprop_options(const OptimizerOptions& o, const GroupSetting& s) {
  return torch::optim::RMSpropOptions(s.lr)
      .alpha(o.alpha)
      .eps(o.eps)
      .momentum(o.momentum)
      .centered(o.centered)
      .weight_decay(s.weight_decay);
}

torch::optim::AdagradOptions adagrad_options(const OptimizerOptions& o, const GroupSetting& s) {
  return torch::optim::AdagradOptions(s.lr)
      .lr_decay(o.lr_decay)
      .eps(o.eps)
      .initial_accumulator_value(o.initial_accumulator)
      .weight_decay(s.weight_decay);
}

template <class TorchOptimizer, class MakeOptions>
std::unique_ptr<torch::optim::Optimizer> make_grouped(const OptimizerOptions& options,
                                                      const NamedParameters& parameters, MakeOptions make_options) {
  using Options = decltype(make_options(options, GroupSetting{}));
  const std::vector<GroupedParameters> settings = group_parameters(options, parameters);
  std::vector<OptimizerParamGroup> groups;
  for (const auto& [setting, tensors] : settings) {
    groups.emplace_back(tensors, std::make_unique<Options>(make_options(options, setting)));
  }
  auto optimizer = std::make_unique<TorchOptimizer>(groups, make_options(options, {options.lr, options.weight_decay}));
  // LibTorch takes a group's option that equals the type's default for unset and replaces it by the optimizer's.
  for (std::size_t i = 0; i < settings.size(); ++i) {
    static_cast<Options&>(optimizer->param_groups()[i].options()) = make_options(options, settings[i].setting);
  }
  return optimizer;
}

constexpr const char* kArchive = "archive";

at::Tensor to_archive(torch::optim::Optimizer& optimizer) {
  std::ostringstream stream;
  torch::save(optimizer, stream);
  const std::string bytes = std::move(stream).str();
  at::Tensor tensor = at::empty({static_cast<std::int64_t>(bytes.size())}, at::kByte);
  std::memcpy(tensor.data_ptr(), bytes.data(), bytes.size());
  return tensor;
}

void from_archive(torch::optim::Optimizer& optimizer, const at::Tensor& tensor) {
  const at::Tensor bytes = tensor.contiguous();
  std::istringstream stream(
      std::string(static_cast<const char*>(bytes.data_ptr()), static_cast<std::size_t>(bytes.numel())));
  torch::load(optimizer, stream);
}

// Calls `act` with the typed options where they have a momentum.
template <class Options, class Act>
void with_momentum(Options& options, Act act) {
  if (auto* fused = dynamic_cast<FusedOptions*>(&options)) {
    if (fused->rule == UpdateRule::adam || fused->rule == UpdateRule::lion) {
      act(fused->beta1);
    } else if (fused->rule != UpdateRule::adagrad) {
      act(fused->momentum);
    }
  } else if (auto* adamw = dynamic_cast<torch::optim::AdamWOptions*>(&options)) {
    act(std::get<0>(adamw->betas()));
  } else if (auto* adam = dynamic_cast<torch::optim::AdamOptions*>(&options)) {
    act(std::get<0>(adam->betas()));
  } else if (auto* sgd = dynamic_cast<torch::optim::SGDOptions*>(&options)) {
    act(sgd->momentum());
  } else if (auto* rmsprop = dynamic_cast<torch::optim::RMSpropOptions*>(&options)) {
    act(rmsprop->momentum());
  }
}

std::unique_ptr<torch::optim::Optimizer> make_torchs(const OptimizerOptions& options,
                                                     const NamedParameters& parameters) {
  GRADWISE_CHECK(options.name != "lion", "optimizer",
                 "LibTorch has no lion, allowed: implementation = \"gradwise\", or another optimizer");
  GRADWISE_CHECK(
      !options.maximize && !options.parity && options.state_dtype == "float32" && !options.stochastic_rounding,
      "optimizer",
      "maximize, parity, state_dtype and stochastic_rounding need implementation = \"gradwise\", "
      "it is \"torch\"");
  if (options.name == "adamw") {
    return make_grouped<torch::optim::AdamW>(options, parameters, adam_options<torch::optim::AdamWOptions>);
  }
  if (options.name == "adam") {
    return make_grouped<torch::optim::Adam>(options, parameters, adam_options<torch::optim::AdamOptions>);
  }
  if (options.name == "sgd") {
    return make_grouped<torch::optim::SGD>(options, parameters, sgd_options);
  }
  return options.name == "rmsprop" ? make_grouped<torch::optim::RMSprop>(options, parameters, rmsprop_options)
                                   : make_grouped<torch::optim::Adagrad>(options, parameters, adagrad_options);
}

}  // namespace

std::unique_ptr<torch::optim::Optimizer> make_optimizer(const OptimizerOptions& options,
                                                        const NamedParameters& parameters) {
  check_fields("optimizer", options);
  const NamedParameters trainable = parameters.trainable();
  GRADWISE_CHECK(trainable.size() > 0, "optimizer", "none of the ", parameters.size(),
                 " parameters asks for a gradient");
  trainable.check_types("optimizer");
  GRADWISE_CHECK(options.name != "sgd" || !options.nesterov || (options.momentum > 0 && options.dampening == 0),
                 "optimizer", "nesterov needs momentum > 0 and dampening 0, momentum is ", options.momentum,
                 ", dampening ", options.dampening);
  if (options.name != "lbfgs") {
    return options.implementation == "gradwise" ? make_grouped<FusedOptimizer>(options, parameters, fused_options)
                                                : make_torchs(options, parameters);
  }
  GRADWISE_CHECK(options.groups.empty(), "optimizer", "lbfgs takes no parameter groups, groups has ",
                 options.groups.size());
  torch::optim::LBFGSOptions lbfgs(options.lr);
  lbfgs.max_iter(options.max_iter).history_size(options.history_size);
  if (options.line_search) {
    lbfgs.line_search_fn("strong_wolfe");
  }
  return std::make_unique<torch::optim::LBFGS>(trainable.tensors, lbfgs);
}

bool needs_closure(const torch::optim::Optimizer& optimizer) {
  return dynamic_cast<const torch::optim::LBFGS*>(&optimizer) != nullptr ||
         dynamic_cast<const ClosureDriven*>(&optimizer) != nullptr;
}

double momentum_of(const torch::optim::OptimizerOptions& group_options) {
  double momentum = kUnset;
  with_momentum(const_cast<torch::optim::OptimizerOptions&>(group_options), [&momentum](double& m) { momentum = m; });
  return momentum;
}

void set_momentum(torch::optim::OptimizerOptions& group_options, double momentum) {
  with_momentum(group_options, [momentum](double& m) { m = momentum; });
}

State optimizer_state(torch::optim::Optimizer& optimizer, const NamedParameters& parameters) {
  State saved;
  const KnownState* known = known_state_of(optimizer);
  saved.values["kind"] = known != nullptr ? known->name : kArchive;
  if (known == nullptr) {
    saved.tensors[kArchive] = to_archive(optimizer);
    return saved;
  }
  saved.values["state"] = nlohmann::json::object();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const auto found = optimizer.state().find(parameters.tensors[i].unsafeGetTensorImpl());
    if (found != optimizer.state().end()) {
      saved.values["state"][parameters.names[i]] = nlohmann::json::object();
      known->save(*found->second, saved, parameters.names[i]);
    }
  }
  for (OptimizerParamGroup& group : optimizer.param_groups()) {
    saved.values["groups"].push_back(
        {{"lr", group.options().get_lr()}, {"momentum", to_json_number(momentum_of(group.options()))}});
  }
  return saved;
}

void load_optimizer_state(torch::optim::Optimizer& optimizer, const NamedParameters& parameters, const State& state) {
  const KnownState* known = known_state_of(optimizer);
  const std::string kind = known != nullptr ? known->name : kArchive;
  const auto saved_kind = state.values.value("kind", std::string());
  GRADWISE_CHECK(saved_kind == kind, "optimizer", "the saved state is of \"", saved_kind, "\", this optimizer is \"",
                 kind, "\"");
  if (known == nullptr) {
    from_archive(optimizer, state.tensors.at(kArchive));
    return;
  }
  const nlohmann::json& groups = state.values.at("groups");
  GRADWISE_CHECK(groups.size() == optimizer.param_groups().size(), "optimizer", "the saved state has ", groups.size(),
                 " parameter groups, this optimizer ", optimizer.param_groups().size());
  std::map<std::size_t, std::unique_ptr<OptimizerParamState>> loaded;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (state.values.at("state").contains(parameters.names[i])) {
      loaded[i] = known->load(state, parameters.names[i], parameters.tensors[i]);
    }
  }
  optimizer.state().clear();
  for (auto& [i, parameter_state] : loaded) {
    optimizer.state()[parameters.tensors[i].unsafeGetTensorImpl()] = std::move(parameter_state);
  }
  if (auto* fused = dynamic_cast<FusedOptimizer*>(&optimizer)) {
    fused->forget_state();
  }
  for (std::size_t i = 0; i < groups.size(); ++i) {
    torch::optim::OptimizerOptions& options = optimizer.param_groups()[i].options();
    options.set_lr(groups[i].at("lr").get<double>());
    set_momentum(options, from_json_number(groups[i].at("momentum")));
  }
}

}  // namespace gradwise
