#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "gradwise/core/event.h"
#include "gradwise/record/sqlite.h"

namespace gradwise {

struct EpochRow {
  std::int64_t step;
  EpochFinished epoch;
};

struct ValidationRow {
  std::int64_t step;
  std::int64_t epoch;
  std::string data;
  std::string metric;  ///< "loss" or a metric's name
  double value;
  bool averaged;
  bool best;
};

struct CheckpointRow {
  std::int64_t step;
  CheckpointSaved checkpoint;
};

/// Reads a run's store, also while it is being written. Errors: no such run, a store of an unknown version.
class RunReader {
 public:
  /// `run` is the run's folder.
  explicit RunReader(const std::filesystem::path& run);

  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }
  /// A value of the table `run`, or "": name, model, device, parameters, threads, epochs, steps_per_epoch, monitor,
  /// status, reason, started, resumed, ended in seconds since the Unix epoch, and paused: seconds between processes of
  /// the run.
  [[nodiscard]] std::string info(const std::string& key) const;
  /// Steps after `after`, in order.
  [[nodiscard]] std::vector<StepInfo> steps(std::int64_t after = 0) const;
  [[nodiscard]] std::int64_t last_step() const;
  /// Wall time of the first and the last step in seconds since the Unix epoch; NaN where there is none.
  [[nodiscard]] double first_time() const;
  [[nodiscard]] double last_time() const;
  [[nodiscard]] std::vector<EpochRow> epochs() const;
  [[nodiscard]] std::vector<ValidationRow> validations() const;
  [[nodiscard]] std::vector<CheckpointRow> checkpoints() const;
  [[nodiscard]] std::vector<Issue> issues() const;
  [[nodiscard]] std::vector<Message> messages() const;
  /// The last diagnosis, most likely cause first.
  [[nodiscard]] std::vector<Finding> findings() const;
  /// The model's parameters, in the order of the readings; empty where the run was not watched.
  [[nodiscard]] std::vector<ParameterFacts> parameters() const;
  /// What was seen in the steps after `after`, in order, without batches and loss paths.
  [[nodiscard]] std::vector<std::shared_ptr<const StepReading>> readings(std::int64_t after = 0) const;

 private:
  std::filesystem::path folder_;
  Database database_;
  std::int64_t version_ = 0;
};

}  // namespace gradwise
