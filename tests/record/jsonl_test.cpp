#include "gradwise/record/jsonl.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/data/temporary_folder.h"
#include "tests/record/synthetic_run.h"

namespace gradwise {
namespace {

std::vector<nlohmann::json> lines_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(file, line);) {
    lines.push_back(nlohmann::json::parse(line));
  }
  return lines;
}

void write_run(const std::filesystem::path& path) {
  JsonlSink sink(path);
  const std::vector<Event> events = synthetic_run();
  sink.write(std::span(events).first(3));
  sink.write(std::span(events).subspan(3));
  sink.flush();
}

TEST(Jsonl, OneObjectALineForEveryEvent) {
  const TemporaryFolder folder;
  write_run(folder / "events.jsonl");
  const std::vector<nlohmann::json> lines = lines_of(folder / "events.jsonl");
  ASSERT_EQ(lines.size(), synthetic_run().size());
  EXPECT_EQ(lines[0].at("kind").get<std::string>(), "run_started");
  EXPECT_EQ(lines[0].at("model").get<std::string>(), "mlp 4-8-2");
  const nlohmann::json& step = lines[3];
  EXPECT_EQ(step.at("kind").get<std::string>(), "step");
  EXPECT_EQ(step.at("step").get<int>(), 3);
  EXPECT_EQ(step.at("time").get<double>(), kSyntheticStart + 3);
  EXPECT_EQ(step.at("loss").get<double>(), 2.0 / 3);
  EXPECT_EQ(step.at("seconds").at("backward").get<double>(), 0.03);
  EXPECT_EQ(lines.back().at("status").get<std::string>(), "finished");
}

TEST(Jsonl, WhatIsNotFiniteIsNull) {
  const TemporaryFolder folder;
  write_run(folder / "events.jsonl");
  const nlohmann::json step = lines_of(folder / "events.jsonl").at(kSkippedStep);
  EXPECT_TRUE(step.at("loss").is_null());
  EXPECT_TRUE(step.at("skipped").get<bool>());
  ASSERT_EQ(step.at("issues").size(), 1U);
  EXPECT_EQ(step.at("issues")[0].at("layer").get<std::string>(), "body.0.weight");
}

TEST(Jsonl, ForgetsLaterStepsAndATornLine) {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder / "events.jsonl";
  write_run(path);
  std::ofstream(path, std::ios::app) << R"({"time":1.0,"step":1,"kind":"st)";
  forget_jsonl_after(path, 6);
  const std::vector<nlohmann::json> lines = lines_of(path);
  ASSERT_EQ(lines.size(), 10U);  // the start, six steps, and epoch, validation and checkpoint after the fifth
  EXPECT_EQ(lines.back().at("step").get<int>(), 6);
  JsonlSink sink(path);
  const std::vector<Event> more{event_after(20, 7, synthetic_step(7))};
  sink.write(more);
  EXPECT_EQ(lines_of(path).size(), 11U);
}

TEST(Jsonl, ForgetsLinesThatAreNoEvents) {
  const TemporaryFolder folder;
  const std::filesystem::path path =
      folder.write("events.jsonl", "[1]\n7\n{\"step\":\"one\"}\n{\"step\":1.5}\n{}\n{\"step\":2}\n");
  forget_jsonl_after(path, 6);
  const std::vector<nlohmann::json> lines = lines_of(path);
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0].dump(), R"({"step":2})");
}

TEST(Jsonl, ForgettingWithoutAFileMakesNone) {
  const TemporaryFolder folder;
  forget_jsonl_after(folder / "events.jsonl", 6);
  EXPECT_FALSE(std::filesystem::exists(folder / "events.jsonl"));
}

TEST(Jsonl, WritesWordsThatAreNotUtf8) {
  const TemporaryFolder folder;
  JsonlSink sink(folder / "events.jsonl");
  const std::vector<Event> events{event_after(0, 1, Message{Message::Level::info, "a\xff\"b"})};
  sink.write(events);
  EXPECT_EQ(lines_of(folder / "events.jsonl").at(0).at("text").get<std::string>(), "a\xEF\xBF\xBD\"b");
}

}  // namespace
}  // namespace gradwise
