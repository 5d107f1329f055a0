#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace gradwise {

/// A run's folder on disk, held by this process: `checkpoints/`, `run.sqlite`, `config.toml`, ... and `lock`, which is
/// locked (flock) for as long as the object lives, so that two processes never work on one run.
class RunFolder {
 public:
  /// Makes a new run; an error where one stands already, where the place can't be written, or is no folder.
  [[nodiscard]] static RunFolder create(const std::filesystem::path& path);
  /// Opens a run to go on with it; an error where there is none, and where another process holds it, with that
  /// process's number.
  [[nodiscard]] static RunFolder open(const std::filesystem::path& path);
  ~RunFolder();
  RunFolder(RunFolder&& other) noexcept;
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;
  RunFolder& operator=(RunFolder&&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  [[nodiscard]] std::filesystem::path file(const std::string& name) const { return path_ / name; }

 private:
  explicit RunFolder(const std::filesystem::path& path);

  std::filesystem::path path_;
  int lock_;
};

/// The path of a run's file that its reader can't do without: run.sqlite, or config.toml. An Error (usage) where there
/// is no such run, or one without the file.
[[nodiscard]] std::filesystem::path file_of_run(const std::filesystem::path& run, const std::string& file);

/// Whether a process holds the run.
[[nodiscard]] bool run_is_held(const std::filesystem::path& path);

struct RunSummary {
  std::string name;
  /// "finished", "stopped", "interrupted" or "failed" as the run said itself; "running" where it has not and a process
  /// holds it; "killed" where none does; "unreadable" where its store is damaged or of another version
  std::string status;
  std::int64_t step = 0;
  std::int64_t epochs = 0;
  std::string best;    ///< as "accuracy 0.9213", or ""
  double started = 0;  ///< seconds since the Unix epoch
  double seconds = 0;  ///< from the start to the last record, less the pauses before it was resumed
};

[[nodiscard]] RunSummary summarize_run(const std::filesystem::path& path);

/// The runs in a folder, the newest last; what is no run is passed over.
[[nodiscard]] std::vector<RunSummary> list_runs(const std::filesystem::path& root);

}  // namespace gradwise
