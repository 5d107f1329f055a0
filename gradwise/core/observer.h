#pragma once

#include <span>

#include "gradwise/core/event.h"
#include "gradwise/core/reading.h"

namespace at {
class Tensor;
}

namespace gradwise {

struct Batch;

/// Where in a training an observer is called.
enum class Point {
  train_start,
  epoch_start,
  batch_start,   ///< `batch` is set; Action::skip passes it over
  forward_end,   ///< `batch`, `output` and `loss` are set, its graph stands; nobody listens: not told
  backward_end,  ///< gradients of the whole window stand, nothing is updated; Action::skip drops the update
  step_end,      ///< `event` holds a StepInfo
  validation_end,
  epoch_end,
  checkpoint,
  rolled_back,  ///< `event` holds a Message; `weights_put_back` says whether there was a checkpoint
  exception,
  train_end
};

/// An observer's answer; of several, the last in this order counts. `roll_back`, at step_end: take weights, optimizer
/// and average back from the last checkpoint and go on with the next batch at half the learning rate.
enum class Action { proceed, skip, roll_back, stop };

struct Moment {
  Point point;
  std::int64_t step = 0;         ///< optimizer steps done
  std::int64_t epoch = 0;        ///< from 0
  const Event* event = nullptr;  ///< what happened, where the point has something to tell
  const Batch* batch = nullptr;
  const at::Tensor* output = nullptr;  ///< of the model
  const at::Tensor* loss = nullptr;    ///< one element, with its graph
  double gradient_scale = 1;           ///< backward_end: what the gradients have to be multiplied by
  std::int64_t micro_batches = 1;      ///< backward passes in the step, where all come
  bool measured_update = false;        ///< backward_end: step_end will bring `weights`
  bool weights_put_back = false;       ///< rolled_back
  /// backward_end: whoever has read all gradients puts their global L2 norm here, as they stand; NaN where one is not
  /// finite.
  double* gradient_norm = nullptr;
  /// step_end: of each of the model's parameters, where the optimizer measures its update.
  std::span<const WeightMoments> weights = {};
};

/// Watches a training and may steer it. Called in the training's thread.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual Action on(const Moment& moment) = 0;
};

}  // namespace gradwise
