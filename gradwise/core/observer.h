#pragma once

#include "gradwise/core/event.h"

namespace gradwise {

struct Batch;

/// Where in a training an observer is called.
enum class Point {
  train_start,
  epoch_start,
  batch_start,   ///< `batch` is set; Action::skip passes it over
  backward_end,  ///< gradients of the whole window stand, nothing is updated; Action::skip drops the update
  step_end,      ///< `event` holds a StepInfo
  validation_end,
  epoch_end,
  checkpoint,
  exception,
  train_end
};

/// An observer's answer.
enum class Action { proceed, skip, stop };

struct Moment {
  Point point;
  std::int64_t step = 0;         ///< optimizer steps done
  std::int64_t epoch = 0;        ///< from 0
  const Event* event = nullptr;  ///< what happened, where the point has something to tell
  const Batch* batch = nullptr;
};

/// Watches a training and may steer it. Called in the training's thread.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual Action on(const Moment& moment) = 0;
};

}  // namespace gradwise
