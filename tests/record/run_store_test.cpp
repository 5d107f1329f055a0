#include "gradwise/record/run_store.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "gradwise/record/run_reader.h"
#include "gradwise/record/sqlite.h"
#include "tests/data/error_of.h"
#include "tests/data/temporary_folder.h"
#include "tests/record/same_figure.h"
#include "tests/record/synthetic_run.h"

namespace gradwise {
namespace {

void expect_same(const StepInfo& seen, const StepInfo& wanted) {
  EXPECT_EQ(seen.step, wanted.step);
  EXPECT_EQ(seen.epoch, wanted.epoch);
  EXPECT_EQ(seen.samples, wanted.samples);
  EXPECT_EQ(seen.micro_batches, wanted.micro_batches);
  expect_same_figure(seen.loss, wanted.loss);
  expect_same_figure(seen.grad_norm, wanted.grad_norm);
  expect_same_figure(seen.grad_norm_clipped, wanted.grad_norm_clipped);
  EXPECT_EQ(seen.clipped, wanted.clipped);
  EXPECT_EQ(seen.skipped, wanted.skipped);
  EXPECT_EQ(seen.skipped_in_all, wanted.skipped_in_all);
  expect_same_figure(seen.lr, wanted.lr);
  expect_same_figure(seen.param_norm, wanted.param_norm);
  expect_same_figure(seen.update_norm, wanted.update_norm);
  expect_same_figure(seen.update_ratio, wanted.update_ratio);
  expect_same_figure(seen.loss_scale, wanted.loss_scale);
  expect_same_figure(seen.peak_bytes, wanted.peak_bytes);
  expect_same_figure(seen.seconds.data, wanted.seconds.data);
  expect_same_figure(seen.seconds.forward, wanted.seconds.forward);
  expect_same_figure(seen.seconds.backward, wanted.seconds.backward);
  expect_same_figure(seen.seconds.clip, wanted.seconds.clip);
  expect_same_figure(seen.seconds.update, wanted.seconds.update);
  expect_same_figure(seen.seconds.total, wanted.seconds.total);
}

void expect_same(const Issue& seen, const Issue& wanted) {
  EXPECT_EQ(seen.severity, wanted.severity);
  EXPECT_EQ(seen.rule, wanted.rule);
  EXPECT_EQ(seen.layer, wanted.layer);
  EXPECT_EQ(seen.step, wanted.step);
  expect_same_figure(seen.value, wanted.value);
  expect_same_figure(seen.threshold, wanted.threshold);
  EXPECT_EQ(seen.message, wanted.message);
  EXPECT_EQ(seen.advice, wanted.advice);
}

class RunStore : public testing::Test {
 protected:
  [[nodiscard]] std::filesystem::path folder() const { return folder_ / "."; }
  [[nodiscard]] std::filesystem::path store() const { return folder_ / "run.sqlite"; }

  void write_run() const {
    RunStoreSink sink(store());
    sink.write(synthetic_run());
    sink.flush();
  }

 private:
  TemporaryFolder folder_;
};

TEST_F(RunStore, GivesStepsBack) {
  write_run();
  const RunReader reader(folder());
  const std::vector<StepInfo> steps = reader.steps();
  ASSERT_EQ(steps.size(), static_cast<std::size_t>(kSyntheticSteps));
  for (const StepInfo& step : steps) {
    expect_same(step, synthetic_step(step.step));
  }
  EXPECT_EQ(reader.steps(8).size(), 2U);
  EXPECT_EQ(reader.last_step(), kSyntheticSteps);
  EXPECT_EQ(reader.last_time(), kSyntheticStart + 10);
}

TEST_F(RunStore, GivesEpochsAndCheckpointsBack) {
  write_run();
  const RunReader reader(folder());
  const std::vector<EpochRow> epochs = reader.epochs();
  ASSERT_EQ(epochs.size(), 2U);
  EXPECT_EQ(epochs[1].step, 10);
  EXPECT_EQ(epochs[1].epoch.epoch, 1);
  EXPECT_EQ(epochs[1].epoch.mean_loss, 0.25);
  EXPECT_EQ(epochs[1].epoch.mean_grad_norm, 8);
  EXPECT_EQ(epochs[1].epoch.samples_per_second, 800);
  EXPECT_EQ(epochs[1].epoch.seconds, 5);
  const std::vector<CheckpointRow> checkpoints = reader.checkpoints();
  ASSERT_EQ(checkpoints.size(), 2U);
  EXPECT_EQ(checkpoints[0].step, 5);
  EXPECT_EQ(checkpoints[0].checkpoint.path, "checkpoints/checkpoint-5");
  EXPECT_EQ(checkpoints[0].checkpoint.bytes, 3 << 20);
  EXPECT_EQ(checkpoints[0].checkpoint.blocked_seconds, 0.002);
  EXPECT_EQ(checkpoints[0].checkpoint.seconds, 0.25);
}

TEST_F(RunStore, GivesValidationsBackAFigureARow) {
  write_run();
  const std::vector<ValidationRow> rows = RunReader(folder()).validations();
  ASSERT_EQ(rows.size(), 9U);  // loss, accuracy and top_5, after each epoch and on the test data
  EXPECT_EQ(rows[0].metric, "loss");
  EXPECT_EQ(rows[0].value, 0.5);
  EXPECT_EQ(rows[1].step, 5);
  EXPECT_EQ(rows[1].epoch, 0);
  EXPECT_EQ(rows[1].data, "validation");
  EXPECT_EQ(rows[1].metric, "accuracy");
  EXPECT_EQ(rows[1].value, 0.875);
  EXPECT_TRUE(rows[1].averaged);
  EXPECT_TRUE(rows[1].best);
  EXPECT_EQ(rows[3].data, "test");
  EXPECT_EQ(rows[8].metric, "top_5");
  EXPECT_FALSE(rows[8].best);
}

TEST_F(RunStore, GivesIssuesMessagesAndTheRunBack) {
  write_run();
  const RunReader reader(folder());
  const std::vector<Issue> issues = reader.issues();
  ASSERT_EQ(issues.size(), 2U);
  expect_same(issues[0], synthetic_issue(kSkippedStep));
  expect_same(issues[1], synthetic_issue(8));
  const std::vector<Message> messages = reader.messages();
  ASSERT_EQ(messages.size(), 1U);
  EXPECT_EQ(messages[0].level, Message::Level::warning);
  EXPECT_EQ(messages[0].text, "the disk is nearly full");
  const std::vector<std::pair<std::string, std::string>> wanted = {{"name", "made-up"},
                                                                   {"model", "mlp 4-8-2"},
                                                                   {"device", "cpu"},
                                                                   {"parameters", "58"},
                                                                   {"threads", "2"},
                                                                   {"epochs", "2"},
                                                                   {"status", "finished"},
                                                                   {"steps_per_epoch", "5"},
                                                                   {"reason", "all epochs are done"},
                                                                   {"started", "1700000000.000000"},
                                                                   {"ended", "1700000012.000000"},
                                                                   {"no such key", ""}};
  for (const auto& [key, value] : wanted) {
    EXPECT_EQ(reader.info(key), value) << key;
  }
}

TEST_F(RunStore, CanBeReadWhileItIsWritten) {
  RunStoreSink sink(store());
  const std::vector<Event> events = synthetic_run();
  sink.write(std::span(events).first(4));
  const RunReader reader(folder());
  EXPECT_EQ(reader.last_step(), 3);
  EXPECT_EQ(reader.info("status"), "running");
  sink.write(std::span(events).subspan(4));
  EXPECT_EQ(reader.last_step(), kSyntheticSteps);
  EXPECT_EQ(reader.info("status"), "finished");
}

TEST_F(RunStore, ForgetsWhatCameAfterAStepAndTakesItAgain) {
  write_run();
  RunStoreSink sink(store());
  sink.forget_after(6);
  const RunReader reader(folder());
  EXPECT_EQ(reader.last_step(), 6);
  EXPECT_EQ(reader.epochs().size(), 1U);
  EXPECT_EQ(reader.validations().size(), 3U);
  EXPECT_EQ(reader.checkpoints().size(), 1U);
  EXPECT_EQ(reader.issues().size(), 1U);
  EXPECT_TRUE(reader.messages().empty());
  for (const Event& event : synthetic_run()) {
    if (event.step > 6) {
      sink.write(std::span(&event, 1));
    }
  }
  EXPECT_EQ(reader.last_step(), kSyntheticSteps);
  EXPECT_EQ(reader.issues().size(), 2U);
  EXPECT_EQ(reader.validations().size(), 9U);
}

TEST_F(RunStore, AResumedRunKeepsItsFirstStart) {
  write_run();
  RunStoreSink sink(store());
  RunStarted again = synthetic_start();
  again.resumed_at = kSyntheticSteps;
  const std::vector<Event> events{event_after(100, kSyntheticSteps, again)};
  sink.write(events);
  const RunReader reader(folder());
  EXPECT_EQ(reader.info("started"), "1700000000.000000");
  EXPECT_EQ(reader.info("resumed"), "1700000100.000000");
  EXPECT_EQ(reader.info("status"), "running");
}

TEST_F(RunStore, AFailedWriteLeavesNothingOfItsBatch) {
  write_run();
  {
    Database database(store(), Database::Mode::read_write);
    database.execute("CREATE TRIGGER refuse BEFORE INSERT ON messages BEGIN SELECT RAISE(ABORT, 'refused'); END");
  }
  RunStoreSink sink(store());
  const std::vector<Event> events{event_after(20, 11, synthetic_step(11)),
                                  event_after(20, 11, Message{Message::Level::info, "hello"})};
  EXPECT_ERROR_WITH("refused", sink.write(events));
  EXPECT_EQ(RunReader(folder()).last_step(), kSyntheticSteps);
}

TEST_F(RunStore, RefusesAnotherVersion) {
  write_run();
  {
    Database database(store(), Database::Mode::read_write);
    database.execute("PRAGMA user_version=99");
  }
  EXPECT_ERROR_WITH("was written by version 99, this one reads 2 to 3", RunReader(folder()));
  EXPECT_ERROR_WITH("was written by version 99, this one reads 2 to 3", RunStoreSink(store()));
}

// Version 2 had no peak memory.
TEST_F(RunStore, ReadsVersion2AndBringsItUpToDateToGoOn) {
  write_run();
  {
    Database database(store(), Database::Mode::read_write);
    database.execute("ALTER TABLE steps DROP COLUMN peak_bytes; PRAGMA user_version=2");
  }
  StepInfo last = synthetic_step(kSyntheticSteps);
  last.peak_bytes = kNotMeasured;
  expect_same(RunReader(folder()).steps().back(), last);
  RunStoreSink sink(store());
  const Event next = event_after(20, kSyntheticSteps + 1, synthetic_step(kSyntheticSteps + 1));
  sink.write(std::span(&next, 1));
  const std::vector<StepInfo> steps = RunReader(folder()).steps();
  expect_same(steps.at(steps.size() - 2), last);
  expect_same(steps.back(), synthetic_step(kSyntheticSteps + 1));
}

TEST_F(RunStore, RefusesWhatIsNoRunStore) {
  EXPECT_ERROR_WITH("is no run: it has no run.sqlite", RunReader(folder()));
  {
    Database database(store(), Database::Mode::read_write);
    database.execute("CREATE TABLE addresses(name TEXT)");
  }
  EXPECT_ERROR_WITH("is a database of something else", RunStoreSink(store()));
  EXPECT_ERROR_WITH("was written by version 0", RunReader(folder()));
}

TEST_F(RunStore, RefusesAFileThatIsNoDatabase) {
  const TemporaryFolder other;
  const std::filesystem::path path = other.write("run.sqlite", std::string(5000, 'x'));
  EXPECT_ERROR_WITH("file is not a database", RunReader(path.parent_path()));
  EXPECT_ERROR_WITH("file is not a database", RunStoreSink(path));
  EXPECT_ERROR_WITH("can't open", RunStoreSink(other / "missing/run.sqlite"));
}

}  // namespace
}  // namespace gradwise
