#include "gradwise/record/recorder.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <string>
#include <thread>

#include "gradwise/core/error.h"
#include "gradwise/record/jsonl.h"
#include "tests/core/file_size_limit.h"
#include "tests/data/error_of.h"
#include "tests/data/temporary_folder.h"
#include "tests/record/synthetic_run.h"

namespace gradwise {
namespace {

using Log = std::vector<std::string>;

// Writes down what it is given: "a:3" for an event of step 3, "a:(text)" for a message, "a:flush".
class LogSink : public Sink {
 public:
  LogSink(std::string name, Log& log) : name_(std::move(name)), log_(log) {}
  void write(std::span<const Event> events) override {
    for (const Event& event : events) {
      const auto* message = std::get_if<Message>(&event.payload);
      log_.push_back(name_ + ":" + (message != nullptr ? "(" + message->text + ")" : std::to_string(event.step)));
    }
  }
  void flush() override { log_.push_back(name_ + ":flush"); }

 private:
  std::string name_;
  Log& log_;
};

class BrokenSink : public Sink {
 public:
  explicit BrokenSink(int& calls) : calls_(calls) {}
  void write(std::span<const Event>) override {
    ++calls_;
    fail("broken", "no space left");
  }
  void flush() override {}

 private:
  int& calls_;
};

class CountingSink : public Sink {
 public:
  CountingSink(std::size_t& events, std::promise<void>& first) : events_(events), first_(first) {}
  void write(std::span<const Event> events) override {
    if (events_ == 0) {
      first_.set_value();
    }
    events_ += events.size();
  }
  void flush() override {}

 private:
  std::size_t& events_;
  std::promise<void>& first_;
};

RecorderOptions never_by_itself() { return {.flush_interval = 3600}; }

TEST(Recorder, SinksGetEveryEventInOrder) {
  Log log;
  std::vector<std::unique_ptr<Sink>> sinks;
  sinks.push_back(std::make_unique<LogSink>("a", log));
  sinks.push_back(std::make_unique<LogSink>("b", log));
  Recorder recorder(std::move(sinks), never_by_itself());
  for (std::int64_t step = 1; step <= 3; ++step) {
    recorder.record(event_after(0, step, synthetic_step(step)));
  }
  recorder.drain();
  EXPECT_EQ(log, (Log{"a:1", "a:2", "a:3", "a:flush", "b:1", "b:2", "b:3", "b:flush"}));
  EXPECT_TRUE(recorder.failures().empty());
}

TEST(Recorder, ObserverPassesOnOnlyWhatHasAnEvent) {
  Log log;
  std::vector<std::unique_ptr<Sink>> sinks;
  sinks.push_back(std::make_unique<LogSink>("a", log));
  Recorder recorder(std::move(sinks), never_by_itself());
  const Event event = event_after(0, 9, synthetic_step(9));
  Moment moment{};
  moment.point = Point::batch_start;
  EXPECT_EQ(recorder.on(moment), Action::proceed);
  moment.point = Point::step_end;
  moment.event = &event;
  EXPECT_EQ(recorder.on(moment), Action::proceed);
  recorder.drain();
  EXPECT_EQ(log, (Log{"a:9", "a:flush"}));
}

TEST(Recorder, PutsABrokenSinkAsideAndTellsAllOthers) {
  Log log;
  int calls = 0;
  std::vector<std::unique_ptr<Sink>> sinks;
  sinks.push_back(std::make_unique<LogSink>("a", log));
  sinks.push_back(std::make_unique<BrokenSink>(calls));
  sinks.push_back(std::make_unique<LogSink>("b", log));
  Recorder recorder(std::move(sinks), never_by_itself());
  recorder.record(event_after(0, 1, synthetic_step(1)));
  recorder.drain();
  recorder.record(event_after(0, 2, synthetic_step(2)));
  recorder.drain();
  const std::string told = ":(a record is no longer kept: [broken] no space left)";
  EXPECT_EQ(log, (Log{"a:1", "a:flush", "b:1", "b:flush", "a" + told, "a:flush", "b" + told, "b:flush", "a:2",
                      "a:flush", "b:2", "b:flush"}));
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(recorder.failures(), (Log{"[broken] no space left"}));
}

TEST(Recorder, GoesOnWithoutAnySink) {
  int calls = 0;
  std::vector<std::unique_ptr<Sink>> sinks;
  sinks.push_back(std::make_unique<BrokenSink>(calls));
  Recorder recorder(std::move(sinks), never_by_itself());
  for (std::int64_t step = 1; step <= 3; ++step) {
    recorder.record(event_after(0, step, synthetic_step(step)));
    recorder.drain();
  }
  EXPECT_EQ(calls, 1);
}

TEST(Recorder, DestructorWritesWhatIsLeft) {
  Log log;
  {
    std::vector<std::unique_ptr<Sink>> sinks;
    sinks.push_back(std::make_unique<LogSink>("a", log));
    Recorder recorder(std::move(sinks), never_by_itself());
    recorder.record(event_after(0, 5, synthetic_step(5)));
  }
  EXPECT_EQ(log, (Log{"a:5", "a:flush"}));
}

TEST(Recorder, WritesEarlyWhenManyEventsWait) {
  std::size_t events = 0;
  std::promise<void> first;
  std::future<void> written = first.get_future();
  std::vector<std::unique_ptr<Sink>> sinks;
  sinks.push_back(std::make_unique<CountingSink>(events, first));
  Recorder recorder(std::move(sinks), never_by_itself());
  for (std::int64_t step = 1; step <= 5000; ++step) {
    recorder.record(event_after(0, step, synthetic_step(step)));
  }
  EXPECT_EQ(written.wait_for(std::chrono::minutes(1)), std::future_status::ready);
  recorder.drain();
  EXPECT_EQ(events, 5000U);
}

TEST(Recorder, TakesEventsFromSeveralThreads) {
  std::size_t events = 0;
  std::promise<void> first;
  std::vector<std::unique_ptr<Sink>> sinks;
  sinks.push_back(std::make_unique<CountingSink>(events, first));
  Recorder recorder(std::move(sinks), {.flush_interval = 0.001});
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&recorder] {
      for (std::int64_t step = 1; step <= 1000; ++step) {
        recorder.record(event_after(0, step, synthetic_step(step)));
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  recorder.drain();
  EXPECT_EQ(events, 4000U);
}

TEST(Recorder, SurvivesAFullDisk) {
  const TemporaryFolder folder;
  Log log;
  std::vector<std::unique_ptr<Sink>> sinks;
  sinks.push_back(std::make_unique<LogSink>("a", log));
  sinks.push_back(std::make_unique<JsonlSink>(folder / "events.jsonl"));
  Recorder recorder(std::move(sinks), never_by_itself());
  {
    const FileSizeLimit limit(4096);
    for (std::int64_t step = 1; step <= 100; ++step) {
      recorder.record(event_after(0, step, synthetic_step(step)));
    }
    recorder.drain();
  }
  ASSERT_EQ(recorder.failures().size(), 1U);
  EXPECT_NE(recorder.failures().front().find("can't write " + (folder / "events.jsonl").string()), std::string::npos)
      << recorder.failures().front();
  EXPECT_EQ(log.size(), 103U);  // 100 steps, the message, two flushes
}

TEST(Recorder, RefusesAnIntervalOfZero) {
  EXPECT_ERROR_WITH("[recorder] flush_interval is 0, allowed: > 0",
                    Recorder(std::vector<std::unique_ptr<Sink>>{}, {.flush_interval = 0}));
}

}  // namespace
}  // namespace gradwise
