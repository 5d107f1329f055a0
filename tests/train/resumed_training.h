#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "gradwise/train/loop.h"
#include "tests/data/tensor_of.h"
#include "tests/train/list_source.h"

namespace gradwise {

/// A toy model with all that a resume can lose: dropout of its inputs, a running mean that it trains with, a counter.
inline Model restless_model(unsigned int seed) {
  Model model = toy_model(seed);
  const at::Tensor mean = random_tensor({4}, seed + 9);
  const at::Tensor count = tensor_of<std::int64_t>({0}, {});
  model.buffers = {{"mean", "count"}, {mean, count}};
  const auto training = std::make_shared<bool>(false);
  model.set_training = [training](bool value) { *training = value; };
  model.is_training = [training] { return *training; };
  model.forward = [training, mean, count, inner = model.forward](const Batch& batch) {
    if (!*training) {
      return inner(batch);
    }
    mean.mul_(0.9).add_(batch.input.select(0, 0), 0.1);
    count.add_(1);
    Batch dropped = batch;
    dropped.input = batch.input.add(mean).mul(batch.input.clone().bernoulli_(0.75));
    return inner(dropped);
  };
  return model;
}

struct ResumeCase {
  const char* name;
  const char* optimizer;
  const char* precision;
  std::int64_t accumulate;
  const char* schedule;
  const char* per;
};

inline OptimizerOptions optimizer_of(const ResumeCase& c) {
  OptimizerOptions options;
  options.name = c.optimizer;
  options.lr = 0.02;
  options.momentum = 0.9;
  return options;
}

inline LoopOptions options_of(const ResumeCase& c, const std::filesystem::path& folder) {
  LoopOptions options;
  options.epochs = 3;
  options.accumulate = c.accumulate;
  options.metrics = {"mse"};
  options.monitor = "mse";
  options.use_ema = true;
  options.step.precision = c.precision;
  options.schedule.name = c.schedule;
  options.schedule.per = c.per;
  options.schedule.warmup_steps = options.schedule.name == "cosine" ? 2 : 0;
  options.schedule.patience = 0;
  options.early_stopping.patience = 50;
  options.checkpoint.folder = folder.string();
  options.checkpoint.every_steps = 1;
  options.checkpoint.every_seconds = 0;
  options.checkpoint.keep_last = 100;
  return options;
}

/// A training of three epochs of six batches, the last one ragged.
struct Training {
  Training(const ResumeCase& c, unsigned int seed, const std::filesystem::path& folder)
      : model(restless_model(seed)), loop(model, optimizer_of(c), options_of(c, folder)) {}

  FitResult fit() { return loop.fit(training, &validation, squared_error); }
  [[nodiscard]] std::vector<at::Tensor> everything() {
    std::vector<at::Tensor> all = model.parameters.tensors;
    all.insert(all.end(), model.buffers.tensors.begin(), model.buffers.tensors.end());
    const NamedParameters averages = loop.ema()->averages();
    all.insert(all.end(), averages.tensors.begin(), averages.tensors.end());
    return copies_of(all);
  }

  Model model;
  ListSource training{toy_batch(22), 4};
  ListSource validation{toy_batch(6, 500), 4};
  AutogradTrainingLoop loop;
};

inline constexpr ResumeCase kPlain{"plain", "adamw", "float32", 1, "cosine", "step"};

}  // namespace gradwise
