#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gradwise/core/fields.h"

namespace gradwise {

/// Another learning rate or weight decay for the parameters whose dotted name matches `pattern` (`*` and `?`).
/// The first rule that matches a parameter wins. Written as text: "head.* lr=1e-4 weight_decay=0".
struct GroupRule {
  std::string pattern;
  std::optional<double> lr = std::nullopt;
  std::optional<double> weight_decay = std::nullopt;
};

[[nodiscard]] GroupRule parse_group_rule(const std::string& text);

/// Names of the built-in optimizers: adamw, adam, sgd, rmsprop, adagrad, lion, lbfgs.
[[nodiscard]] const std::vector<std::string>& optimizer_names();

/// An optimizer by name. Fields that the named optimizer does not have are ignored (see unused_options.h); defaults are
/// those of `torch.optim` for AdamW, SGD's and RMSprop's where AdamW has none.
struct OptimizerOptions {
  std::string name = "adamw";
  std::string implementation = "gradwise";
  double lr = 1e-3;
  double weight_decay = 1e-2;
  bool decay_vectors = true;
  std::vector<std::string> groups = {};
  bool maximize = false;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  bool amsgrad = false;
  double momentum = 0;
  double dampening = 0;
  bool nesterov = false;
  double alpha = 0.99;
  bool centered = false;
  double lr_decay = 0;
  double initial_accumulator = 0;
  std::int64_t max_iter = 20;
  std::int64_t history_size = 100;
  bool line_search = true;
  std::string state_dtype = "float32";
  bool stochastic_rounding = false;
  std::int64_t rounding_seed = 0;
  bool parity = false;
};

/// Whether the optimizer of this name shrinks weights apart from the gradient, and not by an L2 penalty.
[[nodiscard]] inline bool is_decay_decoupled(const std::string& name) { return name == "adamw" || name == "lion"; }

template <class Fields>
void describe(Fields& fields, OptimizerOptions& o) {
  fields.add("name", o.name, "which optimizer", one_of(optimizer_names()));
  fields.add("implementation", o.implementation, "gradwise: one pass over memory; torch: LibTorch's own optimizers",
             one_of({"gradwise", "torch"}));
  fields.add("lr", o.lr, "learning rate", at_least(0));
  fields.add("weight_decay", o.weight_decay, "decoupled for adamw and lion, L2 penalty for the others", at_least(0));
  fields.add("decay_vectors", o.decay_vectors,
             "false: no weight decay on parameters of one dimension or none (biases, norms)", anything());
  fields.add("groups", o.groups, "rules for parameters by name, as \"head.* lr=1e-4 weight_decay=0\"", anything());
  fields.add("maximize", o.maximize, "gradwise: climb the gradient", anything());
  fields.add("beta1", o.beta1, "adam, adamw: decay of the first moment; lion: weight of the moment in the step",
             from_below(0, 1));
  fields.add("beta2", o.beta2, "adam, adamw: decay of the second moment; lion: of the moment", from_below(0, 1));
  fields.add("eps", o.eps, "adam, adamw, rmsprop, adagrad: added to the denominator", at_least(0));
  fields.add("amsgrad", o.amsgrad, "adam, adamw: keep the largest second moment", anything());
  fields.add("momentum", o.momentum, "sgd, rmsprop: momentum", at_least(0));
  fields.add("dampening", o.dampening, "sgd: dampening of the momentum", at_least(0));
  fields.add("nesterov", o.nesterov, "sgd: Nesterov momentum", anything());
  fields.add("alpha", o.alpha, "rmsprop: smoothing of the squared gradient", between(0, 1));
  fields.add("centered", o.centered, "rmsprop: divide by the estimated variance", anything());
  fields.add("lr_decay", o.lr_decay, "adagrad: decay of the learning rate", at_least(0));
  fields.add("initial_accumulator", o.initial_accumulator, "adagrad: start of the sum of squares", at_least(0));
  fields.add("max_iter", o.max_iter, "lbfgs: iterations in a step", at_least(1));
  fields.add("history_size", o.history_size, "lbfgs: remembered updates", at_least(1));
  fields.add("line_search", o.line_search, "lbfgs: strong-Wolfe line search", anything());
  fields.add("state_dtype", o.state_dtype, "gradwise: type of the moments, on the CPU; float64 weights keep float64",
             one_of({"float32", "bfloat16"}));
  fields.add("stochastic_rounding", o.stochastic_rounding,
             "gradwise: round bfloat16 weights and moments up or down at random, right in the mean", anything());
  fields.add("rounding_seed", o.rounding_seed, "gradwise: seed of stochastic rounding", at_least(0));
  fields.add("parity", o.parity, "gradwise: ATen's operators one by one, with the bits of torch.optim", anything());
}

}  // namespace gradwise
