#pragma once

#include <memory>

#include "benchmarks/training/setting.h"
#include "gradwise/record/recorder.h"
#include "gradwise/record/run_folder.h"
#include "gradwise/train/loop.h"

namespace gradwise::bench {

/// Gradwise's loop with everything on: clipping, averaged weights, schedule, checkpoints, and a recorder that writes
/// SQLite, JSONL and TensorBoard files.
class FullLoop {
 public:
  /// `epochs` in all, those for warming up included.
  FullLoop(const Setting& setting, std::int64_t epochs);

  void train_epoch(BatchSource& source);
  /// The epochs that are left, with their checkpoints on disk at the end. Returns the number of images.
  std::int64_t fit(BatchSource& source);

 private:
  RunFolder folder_;
  std::unique_ptr<Recorder> recorder_;
  LossFunction loss_;
  AutogradTrainingLoop loop_;
};

}  // namespace gradwise::bench
