#include "benchmarks/diagnosis/fault.h"

#include <ATen/ops/argsort.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/randperm.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>

#include "gradwise/core/error.h"

namespace gradwise::bench {
namespace {

double usual_rate(const std::string& optimizer) {
  return optimizer == "sgd" ? 0.02 : optimizer == "rmsprop" ? 1e-3 : 2e-3;
}

void keep_only(Dataset& set, const at::Tensor& rows) {
  set.inputs = set.inputs.index_select(0, rows);
  set.targets = set.targets.index_select(0, rows);
}

// Class 0 is there `times` times as often as it was; no sample is lost.
void make_common(Dataset& set, std::int64_t times) {
  const at::Tensor common = set.targets.eq(0).nonzero().reshape({-1});
  const at::Tensor rows = at::cat({common.repeat({times}), set.targets.ne(0).nonzero().reshape({-1})});
  keep_only(set, rows.index_select(0, at::randperm(rows.size(0), at::kLong)));
}

const std::vector<std::string> kPlain = {"mlp", "tanh_mlp"};

std::vector<Fault> network_faults() {
  return {
      {"vanishing_sigmoid",
       {"vanishing_gradient", "saturation"},
       {"mlp"},
       false,
       "layer",
       [](Program& p, double severity) {
         p.network.activation = "sigmoid";
         p.scenario.depth = static_cast<std::int64_t>(6 * severity) + 2;
       }},
      {"exploding_initialization",
       {"initialization", "exploding_gradient"},
       {"mlp", "tanh_mlp", "cnn"},
       false,
       "",
       [](Program& p, double severity) { p.network.gain = 6 * severity; }},
      {"exploding_recurrence",
       {"exploding_gradient", "initialization", "saturation"},
       {"recurrent"},
       false,
       "",
       [](Program& p, double severity) { p.network.recurrent_gain = 6 * severity; }},
      {"zero_initialization",
       {"initialization"},
       {},
       false,
       "",
       [](Program& p, double /*severity*/) { p.network.constant = 0; }},
      {"constant_initialization",
       {"initialization"},
       {},
       false,
       "",
       [](Program& p, double severity) { p.network.constant = 0.05 * severity; }},
      {"tiny_initialization",
       {"initialization", "vanishing_gradient"},
       kPlain,
       false,
       "",
       [](Program& p, double severity) { p.network.gain = 0.01 / severity; }},
      {"dead_relu_bias",
       {"dead_units"},
       {"mlp", "cnn"},
       false,
       "layer",
       [](Program& p, double severity) { p.network.bias = -8 * severity; }},
      {"saturated_tanh",
       {"saturation", "initialization"},
       {"tanh_mlp"},
       false,
       "layer",
       [](Program& p, double severity) { p.network.gain = 12 * severity; }},
      {"double_softmax",
       {"wrong_output"},
       {},
       true,
       "",
       [](Program& p, double /*severity*/) { p.network.output = "softmax"; }},
      {"sigmoid_before_cross_entropy",
       {"wrong_output"},
       {},
       true,
       "",
       [](Program& p, double /*severity*/) { p.network.output = "sigmoid"; }},
      {"rectified_output",
       {"wrong_output", "dead_units"},
       {},
       true,
       "",
       [](Program& p, double /*severity*/) { p.network.output = "relu"; }},
      {"missing_log_softmax", {"wrong_output"}, {}, true, "", [](Program& p, double /*severity*/) { p.loss = "nll"; }},
      {"missing_activation",
       {"missing_activation"},
       {"mlp"},
       false,
       "",
       [](Program& p, double /*severity*/) { p.network.activation = "none"; }},
      {"detached_layer",
       {"detached_layer"},
       {"mlp", "cnn", "residual", "transformer"},
       false,
       "layer0",
       [](Program& p, double /*severity*/) {
         p.network.detached_after = p.scenario.architecture == "transformer" ? 1 : 0;
       }},
      {"frozen_layers",
       {"frozen_layer", "detached_layer"},
       {"mlp", "cnn", "residual"},
       false,
       "layer0",
       [](Program& p, double severity) { p.network.frozen = severity > 1 ? 2 : 1; }},
      {"nan_in_operator",
       {"nonfinite_operator"},
       {"mlp", "cnn", "residual", "transformer"},
       false,
       "layer",
       [](Program& p, double /*severity*/) {
         p.network.broken_layer = 1;
         p.network.broken_from = 100;
       }},
      {"batch_norm_evaluation",
       {"wrong_mode"},
       {"cnn"},
       false,
       "layer",
       [](Program& p, double /*severity*/) {
         p.network.batch_norm = true;
         p.network.evaluated = true;
       }},
  };
}

std::vector<Fault> optimizer_faults() {
  return {
      {"rate_too_high",
       {"learning_rate_too_high", "exploding_gradient"},
       {},
       false,
       "",
       [](Program& p, double severity) { p.optimizer.lr *= (p.scenario.optimizer == "sgd" ? 40 : 200) * severity; }},
      {"dead_relu_rate",
       {"learning_rate_too_high", "dead_units"},
       {"mlp", "cnn"},
       false,
       "",
       [](Program& p, double severity) { p.optimizer.lr *= (p.scenario.optimizer == "sgd" ? 60 : 300) * severity; }},
      {"rate_too_low",
       {"learning_rate_too_low"},
       {},
       false,
       "",
       [](Program& p, double severity) { p.optimizer.lr *= 1e-4 / severity; }},
      {"oscillation",
       {"learning_rate_too_high", "loss_instability", "exploding_gradient"},
       {},
       false,
       "",
       [](Program& p, double severity) {
         p.optimizer.name = "sgd";
         p.optimizer.momentum = 0.95;
         p.optimizer.lr = 0.3 * severity;
       }},
      {"gradients_not_cleared",
       {"gradients_not_cleared"},
       {},
       false,
       "",
       [](Program& p, double /*severity*/) { p.keeps_gradients = true; }},
      {"strong_weight_decay",
       {"strong_weight_decay"},
       {},
       false,
       "",
       [](Program& p, double severity) {
         p.optimizer.weight_decay = p.scenario.optimizer == "adamw" ? 20 * severity : severity;
       }},
      {"batch_too_small",
       {"batch_too_small"},
       {},
       false,
       "",
       [](Program& p, double /*severity*/) { p.scenario.batch_size = 1; }},
      {"spikes_without_clipping",
       {"outlier_batch", "exploding_gradient", "loss_instability"},
       {},
       false,
       "",
       [](Program& p, double severity) { p.spikes_every = static_cast<std::int64_t>(40 / severity); }},
      {"half_underflow",
       {"gradient_underflow", "learning_rate_too_low"},
       {"mlp"},
       false,
       "",
       [](Program& p, double /*severity*/) { p.loop.step.precision = "underflow"; }},
      {"stale_state",
       {"stale_optimizer_state", "learning_rate_too_high"},
       {},
       false,
       "",
       [](Program& p, double /*severity*/) { p.stale_state = true; }},
      {"clipped_always",
       {"clipping", "learning_rate_too_low"},
       {},
       false,
       "",
       [](Program& p, double severity) {
         p.optimizer.name = "sgd";
         p.optimizer.lr = 0.02;
         p.optimizer.momentum = 0.9;
         p.loop.step.clip.method = "norm";
         p.loop.step.clip.max_norm = 1e-3 / severity;
       }},
  };
}

std::vector<Fault> data_faults() {
  return {
      {"input_not_scaled",
       {"input_not_scaled"},
       {},
       false,
       "",
       [](Program& p, double severity) {
         for (Dataset* set : {&p.samples.train, &p.samples.test}) {
           set->inputs = set->inputs.mul(100 * severity).add(300 * severity);
         }
       }},
      {"labels_shuffled",
       {"labels_not_learned"},
       {},
       true,
       "",
       [](Program& p, double /*severity*/) {
         at::Tensor& y = p.samples.train.targets;
         y = y.index_select(0, at::randperm(y.size(0), at::kLong));
       }},
      {"imbalanced_classes",
       {"imbalanced_classes"},
       {},
       true,
       "",
       [](Program& p, double severity) { make_common(p.samples.train, static_cast<std::int64_t>(100 * severity)); }},
      {"unshuffled_data",
       {"unshuffled_data", "constant_labels"},
       {},
       true,
       "",
       [](Program& p, double /*severity*/) {
         keep_only(p.samples.train, p.samples.train.targets.argsort());
         p.shuffled = false;
       }},
      {"constant_labels",
       {"constant_labels"},
       {},
       true,
       "",
       [](Program& p, double /*severity*/) { p.samples.train.targets = at::zeros_like(p.samples.train.targets); }},
  };
}

}  // namespace

const std::vector<Fault>& faults() {
  static const std::vector<Fault> kAll = [] {
    std::vector<Fault> all;
    for (const std::vector<Fault>& group : {network_faults(), optimizer_faults(), data_faults()}) {
      all.insert(all.end(), group.begin(), group.end());
    }
    return all;
  }();
  return kAll;
}

const Fault& fault_named(const std::string& name) {
  const auto found = std::ranges::find(faults(), name, &Fault::name);
  GRADWISE_CHECK(found != faults().end(), "diagnosis", "there is no fault \"", name, "\"");
  return *found;
}

Program healthy_program(const Scenario& scenario) {
  Program program;
  program.scenario = scenario;
  program.samples = program.as_stored = make_samples(scenario);
  program.network.activation =
      scenario.architecture == "tanh_mlp" || scenario.architecture == "recurrent" ? "tanh" : "relu";
  program.optimizer.name = scenario.optimizer;
  program.optimizer.lr = usual_rate(scenario.optimizer);
  program.optimizer.momentum = scenario.optimizer == "sgd" ? 0.9 : 0;
  program.optimizer.weight_decay = scenario.optimizer == "adamw" ? 0.01 : 0;
  program.loop.epochs = 1000;
  program.loop.step.clip.method = "none";
  program.loop.step.weight_statistics_every = 1;
  program.loss = program.samples.classes ? "cross_entropy" : "mse";
  return program;
}

}  // namespace gradwise::bench
