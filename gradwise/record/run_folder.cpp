#include "gradwise/record/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <system_error>
#include <thread>
#include <utility>

#include "gradwise/core/error.h"
#include "gradwise/record/run_reader.h"

namespace gradwise {
namespace {

namespace fs = std::filesystem;

// Tries a few times: whoever lists the runs holds the lock for an instant, to see whether it is free.
bool lock_exclusively(int descriptor) {
  for (int attempt = 0; attempt < 5; ++attempt) {
    if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0) {
      return true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

int take_lock(const fs::path& run) {
  const fs::path path = run / "lock";
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor < 0) {
    fail("run", "can't write in ", run.string(), ": ", std::strerror(errno));
  }
  if (!lock_exclusively(descriptor)) {
    std::ifstream file(path);
    std::string holder;
    std::getline(file, holder);
    ::close(descriptor);
    fail("run", run.string(), " is in use by process ", holder.empty() ? "(unknown)" : holder);
  }
  const std::string own = std::to_string(::getpid()) + "\n";
  if (::ftruncate(descriptor, 0) != 0 || ::write(descriptor, own.data(), own.size()) < 0) {
    const int code = errno;
    ::close(descriptor);
    fail("run", "can't write ", path.string(), ": ", std::strerror(code));
  }
  return descriptor;
}

// Of the last validation that was the best so far: what the run monitors, or where that is not known its first metric,
// or its loss where it has none.
std::string best_figure(const RunReader& reader) {
  const ValidationRow* best = nullptr;
  const std::vector<ValidationRow> rows = reader.validations();
  const std::string monitor = reader.info("monitor");
  for (const ValidationRow& row : rows) {
    const bool newer = best == nullptr || row.step != best->step || best->metric == "loss";
    const bool wanted = monitor.empty() ? newer : row.metric == monitor;
    if (row.best && row.data == "validation" && wanted) {
      best = &row;
    }
  }
  if (best == nullptr) {
    return {};
  }
  char value[32];
  std::snprintf(value, sizeof(value), " %.4f", best->value);
  return best->metric + value;
}

double number_or_zero(const std::string& text) { return text.empty() ? 0 : std::strtod(text.c_str(), nullptr); }

// "runs/a/" as "runs/a".
fs::path without_slash(const fs::path& path) { return path.has_filename() ? path : path.parent_path(); }

std::string run_name(const fs::path& path) {
  return without_slash(fs::absolute(path).lexically_normal()).filename().string();
}

}  // namespace

RunFolder::RunFolder(const fs::path& path) : path_(without_slash(path)), lock_(take_lock(path_)) {}

RunFolder::RunFolder(RunFolder&& other) noexcept
    : path_(std::move(other.path_)), lock_(std::exchange(other.lock_, -1)) {}

RunFolder::~RunFolder() {
  if (lock_ >= 0) {
    ::close(lock_);
  }
}

RunFolder RunFolder::create(const fs::path& path) {
  if (fs::exists(path / "run.sqlite") || fs::exists(path / "config.toml")) {
    fail("run", path.string(), " holds a run already: give another folder",
         fs::exists(path / "config.toml") ? ", or go on with it by `gradwise train --resume " + path.string() + "`"
                                          : "");
  }
  std::error_code problem;
  fs::create_directories(path / "checkpoints", problem);
  if (problem) {
    fail("run", "can't make the folder ", path.string(), ": ", problem.message());
  }
  RunFolder folder(path);
  if (fs::exists(path / "config.toml")) {  // another process was quicker
    fail("run", path.string(), " holds a run already: give another folder");
  }
  return folder;
}

RunFolder RunFolder::open(const fs::path& path) {
  (void)file_of_run(path, "config.toml");
  std::error_code problem;
  fs::create_directories(path / "checkpoints", problem);
  return RunFolder(path);
}

fs::path file_of_run(const fs::path& run, const std::string& file) {
  GRADWISE_CHECK(fs::exists(run), "run", "there is no run ", run.string());
  fs::path path = run / file;
  if (!fs::exists(path) && fs::exists(run / "run.sqlite")) {
    fail_usage(
        "run", run.string(), " has no ", file,
        ", as a program of its own has recorded it: training and analysis are that program's; gradwise report has "
        "the diagnosis on record, gradwise plot the pictures");
  }
  GRADWISE_CHECK(fs::exists(path), "run", run.string(), " is no run: it has no ", file);
  return path;
}

bool run_is_held(const fs::path& path) {
  const int descriptor = ::open((path / "lock").c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    return false;
  }
  const bool held = ::flock(descriptor, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  ::close(descriptor);
  return held;
}

RunSummary summarize_run(const fs::path& path) {
  const RunReader reader(path);
  RunSummary summary;
  summary.name = run_name(path);
  summary.status = reader.info("status");
  if (summary.status.empty() || summary.status == "running") {  // nothing was said about its end
    summary.status = run_is_held(path) ? "running" : "killed";
  }
  summary.step = reader.last_step();
  summary.epochs = static_cast<std::int64_t>(reader.epochs().size());
  summary.best = best_figure(reader);
  summary.started = number_or_zero(reader.info("started"));
  if (summary.started == 0 && summary.step > 0) {  // a program of its own that records steps alone
    summary.started = reader.first_time();
  }
  const double last = std::max({number_or_zero(reader.info("ended")), number_or_zero(reader.info("resumed")),
                                summary.step > 0 ? reader.last_time() : 0});
  summary.seconds = std::max(0.0, last - summary.started - number_or_zero(reader.info("paused")));
  return summary;
}

std::vector<RunSummary> list_runs(const fs::path& root) {
  std::vector<RunSummary> runs;
  std::error_code problem;
  for (const fs::directory_entry& entry : fs::directory_iterator(root, problem)) {
    if (fs::exists(entry.path() / "run.sqlite")) {
      try {
        runs.push_back(summarize_run(entry.path()));
      } catch (const Error&) {
        RunSummary& unreadable = runs.emplace_back();
        unreadable.name = entry.path().filename().string();
        unreadable.status = "unreadable";
      }
    }
  }
  std::ranges::sort(runs, {}, &RunSummary::started);
  return runs;
}

}  // namespace gradwise
