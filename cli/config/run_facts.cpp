#include "cli/config/run_facts.h"

namespace gradwise {

std::int64_t steps_per_epoch(const RunConfig& config, const DataLoader& loader) {
  return (loader.batches_per_epoch() + config.train.accumulate - 1) / config.train.accumulate;
}

RunFacts run_facts(const RunConfig& config, const RunData& data) {
  RunFacts facts;
  facts.loss = config.loss.name;
  facts.optimizer = config.optimizer.name;
  facts.precision = config.train.step.precision;
  if (config.loss.name == "cross_entropy" || config.loss.name == "nll") {
    facts.classes = data.shape.outputs;
  }
  facts.batch_size = config.loader.batch_size * config.train.accumulate;
  facts.steps_per_epoch = steps_per_epoch(config, *data.train);
  facts.planned_steps =
      config.train.max_steps > 0 ? config.train.max_steps : config.train.epochs * facts.steps_per_epoch;
  if (config.train.step.clip.method == "norm") {
    facts.clip_max_norm = config.train.step.clip.max_norm;
  }
  facts.weight_decay = config.optimizer.weight_decay;
  facts.decoupled_decay = is_decay_decoupled(config.optimizer.name);
  facts.momentum = config.optimizer.momentum;
  return facts;
}

}  // namespace gradwise
