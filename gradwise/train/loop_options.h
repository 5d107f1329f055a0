#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gradwise/core/fields.h"
#include "gradwise/data/target_scaling.h"
#include "gradwise/optim/autograd_optimizer.h"
#include "gradwise/optim/ema.h"
#include "gradwise/optim/scheduler_factory.h"

namespace gradwise {

struct CheckpointOptions {
  std::string folder = {};  ///< empty: no checkpoints
  std::int64_t every_steps = 0;
  double every_seconds = 300;
  bool every_epoch = true;
  std::int64_t keep_last = 2;
  bool keep_best = true;
};

template <class Fields>
void describe(Fields& fields, CheckpointOptions& o) {
  fields.add("every_steps", o.every_steps, "optimizer steps between checkpoints; 0: not by steps", at_least(0));
  fields.add("every_seconds", o.every_seconds, "seconds between checkpoints; 0: not by time", at_least(0));
  fields.add("every_epoch", o.every_epoch, "a checkpoint at the end of each epoch", anything());
  fields.add("keep_last", o.keep_last, "how many of the newest are kept", at_least(1));
  fields.add("keep_best", o.keep_best, "keep the best by the monitored metric too", anything());
}

struct EarlyStoppingOptions {
  std::int64_t patience = 0;
  double min_delta = 0;
};

template <class Fields>
void describe(Fields& fields, EarlyStoppingOptions& o) {
  fields.add("patience", o.patience, "validations without improvement before the training stops; 0: never",
             at_least(0));
  fields.add("min_delta", o.min_delta, "smallest change that counts as an improvement", at_least(0));
}

/// Options of a whole training. `monitor` picks the validation figure that decides what is best: "loss" or the name
/// of one of `metrics`.
struct LoopOptions {
  std::int64_t epochs = 10;
  std::int64_t max_steps = 0;
  double max_seconds = 0;
  std::int64_t accumulate = 1;
  std::int64_t seed = 0;  ///< the command line seeds by it; a program calls seed_everything before it makes its model
  bool deterministic = false;
  bool measure_memory = false;
  std::vector<std::string> metrics = {};
  std::string monitor = "loss";
  TargetScaling target_scaling = {};  ///< of the data; metrics are in the data's own units, the loss is as trained
  std::int64_t validate_every = 1;
  bool use_ema = false;
  EmaOptions ema = {};
  AutogradOptimizerOptions step = {.weight_statistics_every = 50};
  ScheduleOptions schedule = {};
  EarlyStoppingOptions early_stopping = {};
  CheckpointOptions checkpoint = {};
};

template <class Fields>
void describe(Fields& fields, LoopOptions& o) {
  fields.add("epochs", o.epochs, "passes over the training data", at_least(1));
  fields.add("max_steps", o.max_steps, "optimizer steps after which the training ends; 0: no bound", at_least(0));
  fields.add("max_seconds", o.max_seconds, "seconds of training after which it ends; 0: no bound", at_least(0));
  fields.add("accumulate", o.accumulate, "micro-batches in an optimizer step", at_least(1));
  fields.add("seed", o.seed, "seed of weights, data order and dropout", at_least(0));
  fields.add("deterministic", o.deterministic, "refuse operators without a deterministic form", anything());
  fields.add("measure_memory", o.measure_memory,
             "count what each step's tensors take at most, by the allocators' reports, at a little of its time",
             anything());
  fields.add("metrics", o.metrics, "validation figures: accuracy, top_K, perplexity, mae, mse, r2", anything());
  fields.add("monitor", o.monitor, "figure that decides what is best: loss or one of metrics", anything());
  fields.add("validate_every", o.validate_every, "epochs between validations", at_least(1));
  fields.add("use_ema", o.use_ema, "average the weights and validate with the average", anything());
  fields.group("ema", o.ema, "averaging of the weights");
  fields.group("step", o.step, "one optimizer step");
  fields.group("schedule", o.schedule, "learning-rate schedule");
  fields.group("early_stopping", o.early_stopping, "end when validation stops improving");
  fields.group("checkpoint", o.checkpoint, "what is saved when");
}

}  // namespace gradwise
