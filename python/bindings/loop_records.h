#pragma once

#include <memory>
#include <string>

#include "gradwise/core/event.h"
#include "gradwise/monitor/training_monitor.h"
#include "gradwise/record/recorder.h"
#include "gradwise/train/loop.h"
#include "python/bindings/recording.h"

namespace gradwise::python {

/// What a training loop in Python shows on standard error and puts on record: a run has the loop's events, and those of
/// a watch with its issues and diagnosis. Must outlive the training; needs no interpreter lock.
class LoopRecords {
 public:
  /// `run`: the folder, or "" for none.
  LoopRecords(bool progress, const std::string& run);

  /// Listens to the loop. `optimizer`: its name, as "adamw".
  void attach(AutogradTrainingLoop& loop, const std::string& optimizer);
  /// A training begins or goes on; the first call is told.
  void begin(const std::string& model, std::int64_t epochs, std::int64_t steps_per_epoch, const std::string& monitor);
  /// How the training ended that `begin` began; nothing where none is under way.
  void end(const std::string& status, const std::string& reason);

 private:
  void tell(const Event& event);

  std::unique_ptr<Recording> recording_;
  std::unique_ptr<Recorder> terminal_;
  std::unique_ptr<TrainingMonitor> watch_;
  AutogradTrainingLoop* loop_ = nullptr;
  bool begun_ = false;
  bool under_way_ = false;
};

}  // namespace gradwise::python
