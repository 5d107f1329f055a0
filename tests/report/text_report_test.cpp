#include "gradwise/report/text_report.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "gradwise/record/duration_text.h"
#include "gradwise/report/text_table.h"
#include "tests/data/temporary_folder.h"
#include "tests/record/synthetic_run.h"
#include "tests/report/drawn_run.h"

namespace gradwise {
namespace {

std::string report_of(const TemporaryFolder& folder, const std::vector<Event>& events) {
  return text_report(run_with(folder, events));
}

// Its lines without the spaces that align them.
std::vector<std::string> squeezed_lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    std::istringstream words(line);
    std::string squeezed;
    for (std::string word; words >> word;) {
      squeezed += (squeezed.empty() ? "" : " ") + word;
    }
    lines.push_back(squeezed);
  }
  return lines;
}

TEST(TextReport, TellsEveryFigureOfARun) {
  const TemporaryFolder folder;
  folder.write("config.toml", "");
  const std::vector<std::string> lines = squeezed_lines(report_of(folder, synthetic_run()));
  const std::vector<std::string> wanted = {
      "status finished (all epochs are done)",
      "model mlp 4-8-2, 58 parameters",
      "device cpu, 2 threads",
      "duration 0:12 (hours:minutes:seconds)",
      "optimizer steps 10",
      "best validation accuracy 0.8750",
      "epoch train loss grad norm samples/s seconds val loss val accuracy val top_5",
      "1 1.25 2.5 800 5 0.5 0.875 0.9375 best",
      "2 0.25 8 800 5 0.625 0.75 0.9375",
      "test 10 averaged loss 0.625",
      "test 10 averaged accuracy 0.75",
      "gradient norm before clipping 1 / 6 / 10",
      "clipped steps 4, 40 %",
      "skipped steps 1",
      "update-to-weight ratio 0.001 / 0.006 / 0.01",
      "step time (ms) 80 / 80 / 80",
      "peak memory of a step (MiB) 1 / 6 / 10",
      "speed over all steps 800 samples/s",
      "share of data, forward, backward 12.5 %, 25 %, 37.5 %",
      "share of clipping, update 5 %, 20 %",
      "nonfinite_gradient: 2 times in 1 layer, first at step 4: 3 values of the gradient are not finite",
      "-> lower the learning rate",
      "the disk is nearly full",
      "config.toml the resolved configuration",
      "run.sqlite every event, as tables"};
  for (const std::string& line : wanted) {
    EXPECT_NE(std::ranges::find(lines, line), lines.end()) << line;
  }
}

TEST(TextReport, ListsOnlyCheckpointsThatStand) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "checkpoints/checkpoint-10");
  const std::vector<std::string> lines = squeezed_lines(report_of(folder, synthetic_run()));
  EXPECT_NE(std::ranges::find(lines, "checkpoints/checkpoint-10 10 3 2 0.25"), lines.end());
  EXPECT_EQ(std::ranges::find(lines, "checkpoints/checkpoint-5 5 3 2 0.25"), lines.end());
}

TEST(TextReport, FitsItsWidthInAscii) {
  const TemporaryFolder folder;
  std::vector<Event> events = synthetic_run();
  Issue wordy = synthetic_issue(9);
  wordy.rule = "wordy";
  for (int i = 0; i < 40; ++i) {
    wordy.message += " and more";
    wordy.advice += " and more";
  }
  events.push_back(event_after(12, 10, wordy));
  const std::string report = report_of(folder, events);
  std::istringstream stream(report);
  for (std::string line; std::getline(stream, line);) {
    EXPECT_LE(line.size(), kReportWidth) << line;
    EXPECT_TRUE(line.empty() || line.back() != ' ') << line;
  }
  EXPECT_TRUE(std::ranges::all_of(report, [](char c) { return c == '\n' || (c >= ' ' && c <= '~'); }));
}

TEST(TextReport, SaysWhatItCanOfARunThatHasJustBegun) {
  const TemporaryFolder folder;
  const std::vector<Event> events{event_after(0, 0, synthetic_start())};
  const std::string report = report_of(folder, events);
  EXPECT_NE(report.find("killed"), std::string::npos);  // no process holds it
  EXPECT_NE(report.find("Issues\n\n  none\n"), std::string::npos);
  EXPECT_EQ(report.find("Epochs"), std::string::npos);
  EXPECT_EQ(report.find("Steps"), std::string::npos);
  EXPECT_EQ(report.find("nan"), std::string::npos);
}

TEST(TextReport, StandsInAFile) {
  const TemporaryFolder folder;
  const std::string report = report_of(folder, synthetic_run());
  write_report(RunReader(folder / "."), folder / "report.txt");
  std::ifstream file(folder / "report.txt");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), report);
}

TEST(TextTable, AlignsNumbersToTheRight) {
  EXPECT_EQ(text_table({{"name", "steps", "best"}, {"a", "5", "-"}, {"long name", "1000", "loss 1"}}),
            "  name        steps   best\n"
            "  a               5   -\n"
            "  long name    1000   loss 1\n");
}

TEST(TextTable, PairsGoOnUnderTheirBeginning) {
  std::string words = "0";
  for (int i = 1; i < 40; ++i) {
    words += " " + std::to_string(i);
  }
  const std::string text = text_pairs({{"short", "x"}, {"numbers", words}});
  EXPECT_EQ(text.substr(0, 12), "  short     ");
  EXPECT_EQ(text.substr(12, 15), "x\n  numbers   0");
  EXPECT_NE(text.find("\n            "), std::string::npos);
  EXPECT_EQ(squeezed_lines(text).size(), 3U);
}

TEST(TextTable, SaysTimesAndNumbers) {
  const std::vector<std::pair<double, std::string>> durations = {
      {0, "0:00"}, {59.6, "1:00"}, {3599, "59:59"}, {3600, "1:00:00"}, {90061, "25:01:01"}, {-5, "0:00"}};
  for (const auto& [seconds, text] : durations) {
    EXPECT_EQ(duration_text(seconds), text) << seconds;
  }
  EXPECT_EQ(number_text(kNotMeasured), "-");
  EXPECT_EQ(number_text(1234.56), "1235");
  EXPECT_EQ(time_text(0), "-");
  EXPECT_EQ(time_text(kSyntheticStart).size(), 19U);
}

}  // namespace
}  // namespace gradwise
