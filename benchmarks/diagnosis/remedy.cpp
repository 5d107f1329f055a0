#include "benchmarks/diagnosis/remedy.h"

#include <ATen/ops/bincount.h>
#include <ATen/ops/randperm.h>

#include <algorithm>

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

// As the files have them: what comes of looking at how inputs and labels are read.
void read_again(Program& p) {
  p.samples = p.as_stored;
  p.shuffled = true;
}

void clip(Program& p) {
  p.loop.step.clip.method = "norm";
  p.loop.step.clip.max_norm = 1;
}

void divide_rate(Program& p, double by) { p.optimizer.lr /= by; }

}  // namespace

const std::map<std::string, std::vector<void (*)(Program&)>>& remedies() {
  static const std::map<std::string, std::vector<void (*)(Program&)>> kAll = {
      {"input_not_scaled", {[](Program& p) { standardize(p.samples); }}},
      {"outlier_batch", {[](Program& p) { p.spikes_every = 0; }}},
      {"unshuffled_data", {[](Program& p) { p.shuffled = true; }}},
      {"constant_labels", {read_again}},
      {"labels_not_learned", {read_again}},
      {"imbalanced_classes", {[](Program& p) { balance(p.samples); }}},
      {"wrong_output", {[](Program& p) {
         p.network.output = "none";
         p.loss = p.samples.classes ? "cross_entropy" : "mse";
       }}},
      {"missing_activation", {[](Program& p) { p.network.activation = "relu"; }}},
      {"initialization", {initialize_well}},
      {"detached_layer", {[](Program& p) { p.network.detached_after = -1; }}},
      {"frozen_layer", {[](Program& p) { p.network.frozen = 0; }}},
      {"wrong_mode", {[](Program& p) { p.network.evaluated = false; }}},
      {"nonfinite_operator", {[](Program& p) { p.network.broken_layer = -1; }}},
      {"dead_units",
       {initialize_well, [](Program& p) { divide_rate(p, 10); }, [](Program& p) { divide_rate(p, 100); }}},
      {"saturation",
       {initialize_well,
        [](Program& p) { p.network.activation = p.network.activation == "sigmoid" ? "relu" : p.network.activation; },
        [](Program& p) { divide_rate(p, 10); }}},
      {"vanishing_gradient",
       {initialize_well,
        [](Program& p) {
          p.network.activation = "relu";
          p.scenario.depth = std::min<std::int64_t>(p.scenario.depth, 4);
        }}},
      {"gradients_not_cleared", {[](Program& p) { p.keeps_gradients = false; }}},
      {"stale_optimizer_state", {[](Program& p) { p.stale_state = false; }}},
      {"learning_rate_too_high",
       {[](Program& p) { divide_rate(p, 10); }, [](Program& p) { divide_rate(p, 100); },
        [](Program& p) { divide_rate(p, 3); }, clip}},
      {"exploding_gradient", {clip, initialize_well, [](Program& p) { divide_rate(p, 10); }}},
      {"loss_instability", {clip, [](Program& p) { divide_rate(p, 10); }}},
      {"learning_rate_too_low",
       {[](Program& p) { divide_rate(p, 1e-1); }, [](Program& p) { divide_rate(p, 1e-2); },
        [](Program& p) { divide_rate(p, 1e-3); }, [](Program& p) { divide_rate(p, 1e-4); }}},
      {"strong_weight_decay",
       {[](Program& p) { p.optimizer.weight_decay /= 10; },
        [](Program& p) { p.optimizer.weight_decay = p.optimizer.name == "adamw" ? 1e-2 : 1e-4; }}},
      {"gradient_underflow", {[](Program& p) { p.loop.step.precision = "float32"; }}},
      {"batch_too_small", {[](Program& p) { p.scenario.batch_size = 32; }}},
      {"clipping", {[](Program& p) { p.loop.step.clip.max_norm = 1; }}},
      {"slow_training", {[](Program& p) { divide_rate(p, 1e-1); }}},
  };
  return kAll;
}

}  // namespace gradwise::bench
