#include "gradwise/record/run_folder.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "gradwise/record/run_store.h"
#include "tests/data/error_of.h"
#include "tests/data/temporary_folder.h"
#include "tests/record/synthetic_run.h"

namespace gradwise {
namespace {

// A run as `create` and a configuration make it.
RunFolder begin_run(const std::filesystem::path& path) {
  RunFolder run = RunFolder::create(path);
  std::ofstream(run.file("config.toml")) << "# nothing\n";
  return run;
}

void write_store(const std::filesystem::path& run, bool finished) {
  RunStoreSink sink(run / "run.sqlite");
  sink.write(synthetic_run(finished));
}

// Another process that holds a run until it is let go.
class Holder {
 public:
  explicit Holder(const std::filesystem::path& run) {
    if (::pipe(ready_.data()) != 0 || ::pipe(release_.data()) != 0) {
      return;
    }
    process_ = ::fork();
    if (process_ == 0) {
      hold(run);
    }
    ::close(ready_[1]);
    ::close(release_[0]);
    char byte = 0;
    holds_ = ::read(ready_[0], &byte, 1) == 1;
  }
  ~Holder() {
    ::close(release_[1]);
    ::close(ready_[0]);
    ::waitpid(process_, nullptr, 0);
  }
  Holder(const Holder&) = delete;
  Holder& operator=(const Holder&) = delete;

  [[nodiscard]] bool holds() const { return holds_; }
  [[nodiscard]] std::string number() const { return std::to_string(process_); }

 private:
  [[noreturn]] void hold(const std::filesystem::path& run) const {
    ::close(ready_[0]);
    ::close(release_[1]);
    try {
      const RunFolder held = RunFolder::open(run);
      char byte = 'x';
      if (::write(ready_[1], &byte, 1) == 1) {
        (void)!::read(release_[0], &byte, 1);  // until the other end is closed
      }
    } catch (const Error&) {
      ::_exit(1);  // the parent sees that nothing is held
    }
    ::_exit(0);
  }

  std::array<int, 2> ready_ = {-1, -1};
  std::array<int, 2> release_ = {-1, -1};
  pid_t process_ = -1;
  bool holds_ = false;
};

TEST(RunFolder, MakesAllFoldersOfARun) {
  const TemporaryFolder folder;
  const RunFolder run = RunFolder::create(folder / "runs/a/");
  EXPECT_EQ(run.path(), folder / "runs/a");
  EXPECT_TRUE(std::filesystem::is_directory(run.checkpoints()));
  EXPECT_EQ(run.file("x.txt"), folder / "runs/a/x.txt");
}

TEST(RunFolder, CreatingWhereARunStandsIsAnError) {
  const TemporaryFolder folder;
  {
    const RunFolder run = begin_run(folder / "a");
  }
  EXPECT_ERROR_WITH("holds a run already: give another folder", RunFolder::create(folder / "a"));
}

TEST(RunFolder, RefusesPlacesThatAreNoFolder) {
  const TemporaryFolder folder;
  const std::filesystem::path file = folder.write("file", "text");
  EXPECT_ERROR_WITH("can't make the folder " + file.string(), RunFolder::create(file));
  EXPECT_ERROR_WITH("can't make the folder " + (file / "a").string(), RunFolder::create(file / "a"));
  EXPECT_ERROR_WITH("there is no run", RunFolder::open(folder / "missing"));
  EXPECT_ERROR_WITH("is no run: it has no config.toml", RunFolder::open(folder / ""));
  (void)folder.write("run.sqlite", "");
  EXPECT_ERROR_WITH("has no config.toml, as a program of its own has recorded it", RunFolder::open(folder / ""));
}

TEST(RunFolder, RefusesAFolderThatCannotBeWritten) {
  if (::geteuid() == 0) {
    GTEST_SKIP() << "the super user may write everywhere";
  }
  const TemporaryFolder folder;
  std::filesystem::permissions(folder / ".", std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
  EXPECT_ERROR_WITH("Permission denied", RunFolder::create(folder / "a"));
  std::filesystem::permissions(folder / ".", std::filesystem::perms::owner_all);
}

TEST(RunFolder, ASecondProcessIsToldWhoHoldsTheRun) {
  const TemporaryFolder folder;
  {
    const RunFolder run = begin_run(folder / "a");
  }
  {
    const Holder holder(folder / "a");
    ASSERT_TRUE(holder.holds());
    EXPECT_ERROR_WITH("is in use by process " + holder.number(), RunFolder::open(folder / "a"));
    EXPECT_TRUE(run_is_held(folder / "a"));
  }
  EXPECT_FALSE(run_is_held(folder / "a"));
  EXPECT_EQ(RunFolder::open(folder / "a").path(), folder / "a");
}

TEST(RunFolder, HoldsTheRunAfterAMove) {
  const TemporaryFolder folder;
  RunFolder first = begin_run(folder / "a");
  const RunFolder second = std::move(first);
  EXPECT_TRUE(run_is_held(folder / "a"));
  EXPECT_FALSE(run_is_held(folder / "missing"));
}

TEST(Runs, AreSummedUp) {
  const TemporaryFolder folder;
  {
    const RunFolder run = begin_run(folder / "a");
  }
  write_store(folder / "a", /*finished=*/true);
  const RunSummary summary = summarize_run(folder / "a/");
  EXPECT_EQ(summary.name, "a");
  EXPECT_EQ(summary.status, "finished");
  EXPECT_EQ(summary.step, kSyntheticSteps);
  EXPECT_EQ(summary.epochs, 2);
  EXPECT_EQ(summary.best, "accuracy 0.8750");
  EXPECT_EQ(summary.started, kSyntheticStart);
  EXPECT_EQ(summary.seconds, 12);
}

RunStarted resumed_start(std::int64_t step) {
  RunStarted started = synthetic_start();
  started.resumed_at = step;
  return started;
}

// 12 s of training, a pause of 88 s, a process that ends at once, another pause of 100 s, then 30 s.
TEST(Runs, DurationLeavesOutThePauses) {
  const TemporaryFolder folder;
  const std::filesystem::path run = folder / "a";
  std::filesystem::create_directories(run);
  write_store(run, /*finished=*/true);
  RunStoreSink sink(run / "run.sqlite");
  const auto write = [&sink](const Event& event) { sink.write(std::span(&event, 1)); };
  write(event_after(100, kSyntheticSteps, resumed_start(kSyntheticSteps)));
  EXPECT_EQ(summarize_run(run).seconds, 12);
  write(event_after(200, kSyntheticSteps, resumed_start(kSyntheticSteps)));
  write(event_after(215, kSyntheticSteps + 1, synthetic_step(kSyntheticSteps + 1)));
  EXPECT_EQ(summarize_run(run).seconds, 27);
  write(event_after(230, kSyntheticSteps + 1, RunFinished{"finished", ""}));
  EXPECT_EQ(summarize_run(run).seconds, 42);
}

// Killed at step 10: what came after the checkpoint at step 5 is trained again, and counts once.
TEST(Runs, DurationOfAKilledRunCountsFromItsCheckpoint) {
  const TemporaryFolder folder;
  const std::filesystem::path run = folder / "a";
  std::filesystem::create_directories(run);
  write_store(run, /*finished=*/false);
  RunStoreSink sink(run / "run.sqlite");
  sink.forget_after(5);
  const std::vector<Event> events{event_after(100, 5, resumed_start(5)), event_after(107, 6, synthetic_step(6))};
  sink.write(events);
  EXPECT_EQ(summarize_run(run).seconds, 12);
}

TEST(Runs, BeginWithTheirFirstStepWhereNothingWasSaidOfTheirStart) {
  const TemporaryFolder folder;
  {
    const RunFolder run = begin_run(folder / "a");
  }
  {
    RunStoreSink sink(folder / "a/run.sqlite");
    const std::vector<Event> steps{event_after(3, 1, synthetic_step(1)), event_after(8, 2, synthetic_step(2))};
    sink.write(steps);
  }
  const RunSummary summary = summarize_run(folder / "a");
  EXPECT_EQ(summary.started, kSyntheticStart + 3);
  EXPECT_EQ(summary.seconds, 5);
}

TEST(Runs, AreListedWithTheirStatus) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "no-run");
  for (const char* name : {"finished", "killed", "broken"}) {
    const RunFolder run = begin_run(folder / name);
  }
  const RunFolder running = begin_run(folder / "running");
  write_store(folder / "finished", /*finished=*/true);
  write_store(folder / "killed", /*finished=*/false);
  write_store(folder / "running", /*finished=*/false);
  std::ofstream(folder / "broken/run.sqlite") << std::string(5000, 'x');
  std::map<std::string, std::string> seen;
  for (const RunSummary& run : list_runs(folder / ".")) {
    seen[run.name] = run.status;
  }
  const std::map<std::string, std::string> wanted = {
      {"broken", "unreadable"}, {"finished", "finished"}, {"killed", "killed"}, {"running", "running"}};
  EXPECT_EQ(seen, wanted);
}

TEST(Runs, AFinishedRunIsFinishedForTheProcessThatHoldsIt) {
  const TemporaryFolder folder;
  const RunFolder run = begin_run(folder / "a");
  write_store(folder / "a", /*finished=*/true);
  EXPECT_EQ(summarize_run(folder / "a").status, "finished");
}

TEST(Runs, BestIsTheLossWhereThereIsNoMetric) {
  const TemporaryFolder folder;
  {
    RunStoreSink sink(folder / "run.sqlite");
    for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
      Validated seen = synthetic_validation(epoch);
      seen.metrics.clear();
      seen.loss = 0.5 - 0.125 * static_cast<double>(epoch);
      seen.best = epoch < 2;
      const Event event = event_after(0, epoch + 1, seen);
      sink.write(std::span(&event, 1));
    }
  }
  EXPECT_EQ(summarize_run(folder / ".").best, "loss 0.3750");
}

TEST(Runs, BestIsWhatTheRunMonitors) {
  const TemporaryFolder folder;
  {
    RunStoreSink sink(folder / "run.sqlite");
    RunStarted started = synthetic_start();
    started.monitor = "r2";
    Validated seen = synthetic_validation(0);
    seen.metrics = {{"mae", 12.5}, {"r2", 0.75}};
    seen.best = true;
    const std::vector<Event> events = {event_after(0, 0, started), event_after(0, 1, seen)};
    sink.write(events);
  }
  EXPECT_EQ(summarize_run(folder / ".").best, "r2 0.7500");
}

TEST(Runs, NoFolderMeansNoRuns) { EXPECT_TRUE(list_runs(TemporaryFolder() / "missing").empty()); }

}  // namespace
}  // namespace gradwise
