#include "benchmarks/diagnosis/remedy.h"

#include <ATen/ops/bincount.h>
#include <ATen/ops/randperm.h>

#include <algorithm>
#include <functional>
#include <map>

namespace gradwise::bench {
namespace {

void standardize(Samples& samples) {
  const at::Tensor mean = samples.train.inputs.mean();
  const at::Tensor deviation = samples.train.inputs.std();
  for (Dataset* set : {&samples.train, &samples.test}) {
    set->inputs = set->inputs.sub(mean).div(deviation);
  }
}

// Every class as often as the commonest.
void balance(Samples& samples) {
  const at::Tensor& y = samples.train.targets;
  const at::Tensor counts = at::bincount(y);
  const at::Tensor weights = counts.clamp_min(1).reciprocal().index_select(0, y);
  const at::Tensor rows = weights.multinomial(y.size(0), /*replacement=*/true);
  samples.train.inputs = samples.train.inputs.index_select(0, rows);
  samples.train.targets = y.index_select(0, rows);
}

void initialize_well(Program& p) {
  p.network.gain = p.network.recurrent_gain = 1;
  p.network.constant = -1;
  p.network.bias = 0;
}

void clip(Program& p) {
  p.loop.step.clip.method = "norm";
  p.loop.step.clip.max_norm = 1;
}

const std::map<std::string, std::function<void(Program&)>>& remedies() {
  static const std::map<std::string, std::function<void(Program&)>> kAll = {
      {"input_not_scaled", [](Program& p) { standardize(p.samples); }},
      {"outlier_batch", [](Program& p) { p.spikes_every = 0; }},
      {"unshuffled_data", [](Program& p) { p.shuffled = true; }},
      {"imbalanced_classes", [](Program& p) { balance(p.samples); }},
      {"wrong_output",
       [](Program& p) {
         p.network.output = "none";
         p.loss = p.samples.classes ? "cross_entropy" : "mse";
       }},
      {"missing_activation", [](Program& p) { p.network.activation = "relu"; }},
      {"initialization", initialize_well},
      {"detached_layer", [](Program& p) { p.network.detached_after = -1; }},
      {"frozen_layer", [](Program& p) { p.network.frozen = 0; }},
      {"wrong_mode", [](Program& p) { p.network.evaluated = false; }},
      {"nonfinite_operator", [](Program& p) { p.network.broken_layer = -1; }},
      {"dead_units", [](Program& p) { initialize_well(p), p.optimizer.lr /= 10; }},
      {"saturation",
       [](Program& p) {
         initialize_well(p);
         p.network.activation = p.network.activation == "sigmoid" ? "relu" : p.network.activation;
       }},
      {"vanishing_gradient",
       [](Program& p) {
         initialize_well(p);
         p.network.activation = "relu";
         p.scenario.depth = std::min<std::int64_t>(p.scenario.depth, 4);
       }},
      {"gradients_not_cleared", [](Program& p) { p.keeps_gradients = false; }},
      {"stale_optimizer_state", [](Program& p) { p.stale_state = false; }},
      {"learning_rate_too_high", [](Program& p) { p.optimizer.lr /= 10; }},
      {"exploding_gradient", [](Program& p) { initialize_well(p), clip(p); }},
      {"loss_instability", clip},
      {"learning_rate_too_low", [](Program& p) { p.optimizer.lr *= 100; }},
      {"strong_weight_decay", [](Program& p) { p.optimizer.weight_decay /= 10; }},
      {"gradient_underflow", [](Program& p) { p.loop.step.precision = "float32"; }},
      {"batch_too_small", [](Program& p) { p.scenario.batch_size = 32; }},
      {"clipping", [](Program& p) { p.loop.step.clip.max_norm = 1; }},
      {"slow_training", [](Program& p) { p.optimizer.lr *= 10; }},
  };
  return kAll;
}

}  // namespace

bool apply_remedy(Program& program, const std::string& cause) {
  const auto found = remedies().find(cause);
  if (found == remedies().end()) {
    return false;
  }
  found->second(program);
  return true;
}

}  // namespace gradwise::bench
