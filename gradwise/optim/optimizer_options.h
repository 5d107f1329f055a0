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

/// Names of the built-in optimizers: adamw, adam, sgd, rmsprop, adagrad, lbfgs.
[[nodiscard]] const std::vector<std::string>& optimizer_names();

/// An optimizer by name. Fields that the named optimizer does not have are ignored; defaults are those of
/// `torch.optim` for AdamW, SGD's and RMSprop's where AdamW has none.
struct OptimizerOptions {
  std::string name = "adamw";
  double lr = 1e-3;
  double weight_decay = 1e-2;
  bool decay_vectors = true;
  std::vector<std::string> groups = {};
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
};

template <class Fields>
void describe(Fields& fields, OptimizerOptions& o) {
  fields.add("name", o.name, "which optimizer", one_of(optimizer_names()));
  fields.add("lr", o.lr, "learning rate", at_least(0));
  fields.add("weight_decay", o.weight_decay, "decoupled for adamw, L2 penalty for the others", at_least(0));
  fields.add("decay_vectors", o.decay_vectors,
             "false: no weight decay on parameters of one dimension or none (biases, norms)", anything());
  fields.add("groups", o.groups, "rules for parameters by name, as \"head.* lr=1e-4 weight_decay=0\"", anything());
  fields.add("beta1", o.beta1, "adam, adamw: decay of the first moment", from_below(0, 1));
  fields.add("beta2", o.beta2, "adam, adamw: decay of the second moment", from_below(0, 1));
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
}

}  // namespace gradwise
