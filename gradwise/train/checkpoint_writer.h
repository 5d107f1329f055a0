#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "gradwise/core/event.h"
#include "gradwise/train/checkpoint.h"

namespace gradwise {

/// Writes checkpoints on a thread of its own: the training waits only while its tensors are copied into buffers that
/// are kept from one checkpoint to the next (so memory holds the saved state twice). One checkpoint is under way at a
/// time; a second `save` waits for the first.
class CheckpointWriter {
 public:
  CheckpointWriter(std::filesystem::path folder, std::int64_t keep_last);
  /// Waits for the checkpoint under way.
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  /// Takes a copy of `live` and returns; `best` moves the link `best` to it. Throws what the write before it threw.
  void save(std::int64_t step, Checkpoint live, bool best);
  /// Waits until all is on disk; throws what the write threw.
  void wait();
  /// Checkpoints that were finished since the last call.
  [[nodiscard]] std::vector<CheckpointSaved> take_finished();

 private:
  struct Job {
    std::int64_t step;
    bool best;
    double blocked_seconds;
  };
  void run();
  void write(const Job& job);
  void stage(State& live, std::map<std::string, at::Tensor>& buffers);
  void rethrow_failure(std::unique_lock<std::mutex>& lock);

  std::filesystem::path folder_;
  std::int64_t keep_last_;
  std::map<std::string, at::Tensor> model_buffers_;
  std::map<std::string, at::Tensor> training_buffers_;
  Checkpoint staged_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Job> job_;  // staged_ and the buffers are the thread's while it is set
  std::vector<CheckpointSaved> finished_;
  std::exception_ptr failure_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace gradwise
