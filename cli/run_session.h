#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "cli/config/run_config.h"
#include "cli/data/datasets.h"
#include "gradwise/record/recorder.h"
#include "gradwise/record/run_folder.h"
#include "gradwise/train/loop.h"

namespace gradwise {

/// One training from the command line: the run's folder, its records, data, model and loop wired together.
class RunSession {
 public:
  /// A new run. Data and model are made before the folder, so that bad input leaves nothing behind.
  static int start(const RunConfig& config, const std::string& name);
  /// Goes on with the run in a folder.
  static int resume(const std::filesystem::path& run, const std::vector<std::string>& overrides);

 private:
  RunSession(RunConfig config, RunData data);

  void enter(RunFolder folder);
  void check_length(const std::vector<std::string>& overrides, std::int64_t steps) const;
  /// A forward pass and its loss, before anything is written.
  void try_first_batch();
  void open_records(std::int64_t resumed_at);
  /// The step that the run goes on from; 0 where it has no checkpoint yet.
  [[nodiscard]] std::int64_t load_checkpoint();
  [[nodiscard]] int run(std::int64_t resumed_at);
  /// Attaches the monitor to the loop as it stands.
  void start_watching();
  void tell(Payload payload);
  /// Puts the diagnosis on record, and shows it where there is something to say.
  void diagnose();
  void finish(const FitResult& result);
  /// 1 where a record was lost, after saying so.
  [[nodiscard]] int tell_lost_records() const;
  void save_weights();
  [[nodiscard]] int interrupted(int signal);

  RunConfig config_;
  RunData data_;
  at::Device device_;
  std::unique_ptr<RunFolder> folder_;
  std::unique_ptr<Recorder> recorder_;
  std::unique_ptr<AutogradTrainingLoop> loop_;
  std::unique_ptr<TrainingMonitor> monitor_;
};

}  // namespace gradwise
