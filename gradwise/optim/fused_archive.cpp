// What torch::save and torch::load write and read of a FusedOptimizer.
#include <torch/serialize/input-archive.h>
#include <torch/serialize/output-archive.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gradwise/core/error.h"
#include "gradwise/optim/fused_optimizer.h"

namespace gradwise {
namespace {

using torch::serialize::InputArchive;
using torch::serialize::OutputArchive;

constexpr const char* kFormat = "gradwise.FusedOptimizer.1";

// Lists to a visitor the options that may differ from run to run; what makes another optimizer is compared.
template <class Visitor>
void list_options(Visitor& visit, FusedOptions& o) {
  visit("lr", o.lr);
  visit("weight_decay", o.weight_decay);
  visit("maximize", o.maximize);
  visit("beta1", o.beta1);
  visit("beta2", o.beta2);
  visit("eps", o.eps);
  visit("amsgrad", o.amsgrad);
  visit("momentum", o.momentum);
  visit("dampening", o.dampening);
  visit("nesterov", o.nesterov);
  visit("alpha", o.alpha);
  visit("centered", o.centered);
  visit("lr_decay", o.lr_decay);
  visit("initial_accumulator", o.initial_accumulator);
  visit("bfloat16_state", o.bfloat16_state);
  visit("stochastic_rounding", o.stochastic_rounding);
  visit("rounding_seed", o.rounding_seed);
  visit("parity", o.parity);
}

struct SaveOptions {
  OutputArchive& into;
  void operator()(const char* name, double value) const { into.write(name, c10::IValue(value)); }
  void operator()(const char* name, bool value) const { into.write(name, c10::IValue(value)); }
  void operator()(const char* name, std::uint32_t value) const {
    into.write(name, c10::IValue(static_cast<std::int64_t>(value)));
  }
};

c10::IValue value_of(InputArchive& archive, const std::string& name) {
  c10::IValue value;
  archive.read(name, value);
  return value;
}

struct LoadOptions {
  InputArchive& from;
  void operator()(const char* name, double& value) const { value = value_of(from, name).toDouble(); }
  void operator()(const char* name, bool& value) const { value = value_of(from, name).toBool(); }
  void operator()(const char* name, std::uint32_t& value) const {
    value = static_cast<std::uint32_t>(value_of(from, name).toInt());
  }
};

// A copy: an archive would write the whole memory that a line is a part of.
void save_line(OutputArchive& into, const char* name, const at::Tensor& line) {
  if (line.defined()) {
    into.write(name, line.clone(), /*is_buffer=*/true);
  }
}

at::Tensor load_line(InputArchive& from, const char* name, const at::Tensor& parameter, std::size_t index) {
  at::Tensor line;
  if (from.try_read(name, line, /*is_buffer=*/true)) {
    GRADWISE_CHECK(line.sizes() == parameter.sizes(), "optimizer", "the saved state of parameter ", index,
                   " has shape ", line.sizes(), ", the parameter ", parameter.sizes());
  }
  return line;
}

std::string key_of(const char* what, std::size_t index) { return what + std::to_string(index); }

}  // namespace

void FusedOptimizer::save(OutputArchive& archive) const {
  archive.write("format", c10::IValue(kFormat));
  archive.write("groups", c10::IValue(static_cast<std::int64_t>(param_groups().size())));
  for (std::size_t g = 0; g < param_groups().size(); ++g) {
    FusedOptions options = static_cast<const FusedOptions&>(param_groups()[g].options());
    OutputArchive group(archive.compilation_unit());
    group.write("rule", c10::IValue(static_cast<std::int64_t>(options.rule)));
    group.write("decoupled", c10::IValue(options.decoupled));
    group.write("parameters", c10::IValue(static_cast<std::int64_t>(param_groups()[g].params().size())));
    SaveOptions save{group};
    list_options(save, options);
    archive.write(key_of("group", g), group);
  }
  for (std::size_t i = 0; i < ordered_.size(); ++i) {
    const auto found = state().find(ordered_[i].unsafeGetTensorImpl());
    if (found == state().end()) {
      continue;
    }
    const auto& saved = static_cast<const FusedState&>(*found->second);
    OutputArchive one(archive.compilation_unit());
    one.write("step", c10::IValue(saved.step));
    save_line(one, "first", saved.first);
    save_line(one, "second", saved.second);
    save_line(one, "third", saved.third);
    archive.write(key_of("state", i), one);
  }
}

// Nothing is changed before all is read.
void FusedOptimizer::load(InputArchive& archive) {
  c10::IValue format;
  GRADWISE_CHECK(archive.try_read("format", format) && format.isString() && format.toStringRef() == kFormat,
                 "optimizer", "the archive is not one that a FusedOptimizer has saved");
  const auto groups = static_cast<std::size_t>(value_of(archive, "groups").toInt());
  GRADWISE_CHECK(groups == param_groups().size(), "optimizer", "the saved state has ", groups,
                 " parameter groups, this optimizer ", param_groups().size());
  std::vector<FusedOptions> options(groups);
  for (std::size_t g = 0; g < groups; ++g) {
    InputArchive group;
    archive.read(key_of("group", g), group);
    const auto& now = static_cast<const FusedOptions&>(param_groups()[g].options());
    const auto parameters = static_cast<std::size_t>(value_of(group, "parameters").toInt());
    GRADWISE_CHECK(parameters == param_groups()[g].params().size(), "optimizer", "group ", g,
                   " of the saved state has ", parameters, " parameters, this optimizer's ",
                   param_groups()[g].params().size());
    options[g].rule = static_cast<UpdateRule>(value_of(group, "rule").toInt());
    options[g].decoupled = value_of(group, "decoupled").toBool();
    GRADWISE_CHECK(options[g].rule == now.rule && options[g].decoupled == now.decoupled, "optimizer", "group ", g,
                   " of the saved state is of another kind of optimizer than this one's");
    LoadOptions load{group};
    list_options(load, options[g]);
  }
  std::vector<std::unique_ptr<FusedState>> states(ordered_.size());
  for (std::size_t i = 0; i < ordered_.size(); ++i) {
    InputArchive one;
    if (archive.try_read(key_of("state", i), one)) {
      states[i] = std::make_unique<FusedState>(options_of(slots_[i]).rule);
      states[i]->step = value_of(one, "step").toInt();
      states[i]->first = load_line(one, "first", ordered_[i], i);
      states[i]->second = load_line(one, "second", ordered_[i], i);
      states[i]->third = load_line(one, "third", ordered_[i], i);
    }
  }
  for (std::size_t g = 0; g < groups; ++g) {
    static_cast<FusedOptions&>(param_groups()[g].options()) = options[g];
  }
  state().clear();
  for (std::size_t i = 0; i < states.size(); ++i) {
    if (states[i]) {
      state()[ordered_[i].unsafeGetTensorImpl()] = std::move(states[i]);
    }
  }
  forget_state();
}

}  // namespace gradwise
