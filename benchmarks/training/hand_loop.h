#pragma once

#include <memory>
#include <vector>

#include "benchmarks/training/setting.h"
#include "gradwise/monitor/watch.h"
#include "gradwise/optim/fused_optimizer.h"
#include "gradwise/optim/gradient_pass.h"

namespace gradwise::bench {

/// The same training as FullLoop written by hand in LibTorch, by someone who knows it well: the fused AdamW, foreach
/// operators for norm, clipping and averaged weights, a cosine schedule, loss and norm of every step read and kept, a
/// step with a non-finite norm left out. No events, no checkpoints, no statistics of weights.
class HandLoop {
 public:
  /// Who updates: ATen's fused AdamW, or Gradwise's optimizer, which clips, averages and measures in its pass.
  enum class Update { aten, gradwise };

  /// `steps` in all, for the schedule.
  HandLoop(const Setting& setting, std::int64_t steps, Update update = Update::aten);

  /// From now on every gradient, weight and update is read, as the options say.
  void watch(WatchOptions options = {}) { watch_ = std::make_unique<Watch>(model_.parameters, options); }
  /// From now on the activations are read off the loss's graph, in every step of this interval.
  void walk(std::int64_t every) { walk_every_ = every; }

  /// Returns the number of images.
  std::int64_t train_epoch(BatchSource& source);

 private:
  [[nodiscard]] double read_norm(const std::vector<at::Tensor>& gradients);
  void update();
  void update_by_aten(const std::vector<at::Tensor>& gradients, double coefficient);
  void clear_gradients();

  Model model_;
  std::vector<at::Tensor> parameters_;
  std::vector<at::Tensor> averages_;
  std::vector<at::Tensor> first_, second_, counts_;  // ATen's AdamW
  std::unique_ptr<FusedOptimizer> fused_;
  GradientPass pass_;
  double rate_ = kLearningRate;
  std::vector<double> losses_;
  std::vector<double> norms_;
  std::int64_t epoch_ = 0;
  std::int64_t step_ = 0;
  std::int64_t steps_;
  std::unique_ptr<Watch> watch_;
  std::int64_t walk_every_ = 0;
  std::size_t activations_ = 0;  // that the walks have read
};

}  // namespace gradwise::bench
