#include "gradwise/record/terminal.h"

#include <gtest/gtest.h>
#include <pty.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "tests/data/error_of.h"
#include "tests/data/temporary_folder.h"
#include "tests/record/synthetic_run.h"

namespace gradwise {
namespace {

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

// What the sink writes to a file when it is given the run event by event, or all at once.
std::string plain_text(const TerminalOptions& options, bool at_once) {
  const TemporaryFolder folder;
  {
    const File out(std::fopen((folder / "out").c_str(), "w"));
    TerminalSink sink(out.get(), options);
    const std::vector<Event> events = synthetic_run();
    if (at_once) {
      sink.write(events);
    } else {
      for (const Event& event : events) {
        sink.write(std::span(&event, 1));
      }
    }
    sink.flush();
  }
  std::ifstream file(folder / "out");
  return {std::istreambuf_iterator<char>(file), {}};
}

std::size_t occurrences(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++count;
  }
  return count;
}

TEST(TerminalAsFile, TellsTheRunInPlainLines) {
  const std::string wanted =
      "made-up: mlp 4-8-2, 58 parameters, on cpu, 2 threads\n"
      "  ! step 4: 3 values of the gradient are not finite; lower the learning rate\n"
      "epoch 1/2  step 5/5  ETA 0:05  loss 0.4000  grad norm 5  800 samples/s  lr 0.005\n"
      "epoch 1/2  train loss 1.2500  grad norm 2.5  800 samples/s  0:05\n"
      "  validation loss 0.5000  accuracy 0.8750  top_5 0.9375  (best so far)\n"
      "  saved checkpoints/checkpoint-5  3.0 MiB, training waited 2.0 ms\n"
      "  ! the disk is nearly full\n"
      "  ! step 8: 3 values of the gradient are not finite; lower the learning rate\n"
      "epoch 2/2  train loss 0.2500  grad norm 8  800 samples/s  0:05\n"
      "  validation loss 0.6250  accuracy 0.7500  top_5 0.9375\n"
      "  saved checkpoints/checkpoint-10  3.0 MiB, training waited 2.0 ms\n"
      "  test loss 0.6250  accuracy 0.7500  top_5 0.9375\n"
      "finished: all epochs are done\n";
  EXPECT_EQ(plain_text({.plain_interval = 1000}, /*at_once=*/true), wanted);
}

TEST(TerminalAsFile, ProgressKeepsItsInterval) {
  const std::vector<std::pair<double, std::size_t>> cases = {{0, 10}, {1, 10}, {2, 5}, {4.5, 2}, {1000, 1}};
  for (const auto& [interval, lines] : cases) {
    EXPECT_EQ(occurrences(plain_text({.plain_interval = interval}, /*at_once=*/false), "ETA"), lines) << interval;
  }
}

TEST(TerminalAsFile, LeavesSuggestionsToTheReport) {
  const TemporaryFolder folder;
  {
    const File out(std::fopen((folder / "out").c_str(), "w"));
    TerminalSink sink(out.get(), {});
    const std::vector<Event> events{
        event_after(1, 1, Issue{.severity = Severity::info, .rule = "a", .message = "of use"}),
        event_after(2, 2, Issue{.severity = Severity::warning, .rule = "b", .message = "bad"})};
    sink.write(events);
  }
  std::ifstream file(folder / "out");
  std::string line;
  std::getline(file, line);
  EXPECT_EQ(line, "  ! step 0: bad");
}

TEST(TerminalAsFile, LeavesOutWhatIsNotKnown) {
  const TemporaryFolder folder;
  {
    const File out(std::fopen((folder / "out").c_str(), "w"));
    TerminalSink sink(out.get(), {});
    RunStarted started = synthetic_start();
    started.steps_per_epoch = -1;
    StepInfo step = synthetic_step(2);
    step.grad_norm = kNotMeasured;
    const std::vector<Event> events{event_after(0, 0, started), event_after(2, 2, step)};
    sink.write(events);
  }
  std::ifstream file(folder / "out");
  std::string line;
  std::getline(file, line);
  std::getline(file, line);
  EXPECT_EQ(line, "epoch 1/2  step 2  loss 1.0000  800 samples/s  lr 0.002");
}

// What the sink sends to a terminal of 70 columns.
std::string terminal_text() {
  int master = -1;
  int slave = -1;
  winsize size{};
  size.ws_col = 70;
  size.ws_row = 24;
  if (::openpty(&master, &slave, nullptr, nullptr, &size) != 0) {
    return "no terminal";
  }
  {
    const File out(::fdopen(slave, "w"));
    TerminalSink sink(out.get());
    for (const Event& event : synthetic_run()) {
      if (event.step <= 5) {
        sink.write(std::span(&event, 1));
      }
    }
  }
  std::string text;
  char bytes[4096];
  for (ssize_t count = 0; (count = ::read(master, bytes, sizeof(bytes))) > 0;) {
    text.append(bytes, static_cast<std::size_t>(count));
  }
  ::close(master);
  return text;
}

class TerminalItself : public testing::Test {
 protected:
  void SetUp() override { ::unsetenv("NO_COLOR"); }
  void TearDown() override { ::unsetenv("NO_COLOR"); }
};

TEST_F(TerminalItself, ShowsABarOfTheTerminalsWidthAndTakesItAway) {
  const std::string text = terminal_text();
  const std::string clear = "\r\033[K";
  const std::size_t bar = text.find("[##########..........]  50 %  epoch 1/2  step 5/5  ETA 0:05");
  ASSERT_NE(bar, std::string::npos) << text;
  EXPECT_EQ(text.find(clear, bar) - bar, 69U);
  EXPECT_NE(text.find("[##..................]  10 %"), std::string::npos);
  EXPECT_EQ(occurrences(text, clear), occurrences(text, "[#") + occurrences(text, "[.")) << "each bar goes away";
}

TEST_F(TerminalItself, ColoursUnlessNoColorIsSet) {
  const std::string coloured = terminal_text();
  EXPECT_NE(coloured.find("\033[31m  ! step 4"), std::string::npos);
  EXPECT_NE(coloured.find("\033[32m  validation loss"), std::string::npos);
  ::setenv("NO_COLOR", "1", 1);
  const std::string plain = terminal_text();
  EXPECT_EQ(occurrences(plain, "\033[3"), 0U);
  EXPECT_NE(plain.find("  ! step 4"), std::string::npos);
}

TEST(Terminal, RefusesANegativeInterval) {
  EXPECT_ERROR_WITH("[terminal] plain_interval is -1, allowed: >= 0", TerminalSink(stdout, {.plain_interval = -1}));
}

}  // namespace
}  // namespace gradwise
