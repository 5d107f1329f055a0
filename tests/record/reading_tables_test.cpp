// What was seen of a training, written and read back, figure by figure.
#include "gradwise/record/reading_tables.h"

#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "gradwise/record/event_json.h"
#include "gradwise/record/run_reader.h"
#include "gradwise/record/run_store.h"
#include "tests/data/temporary_folder.h"
#include "tests/record/same_figure.h"

namespace gradwise {
namespace {

std::shared_ptr<const RunFacts> two_parameters() {
  RunFacts facts;
  facts.parameters = {{"0.weight", {4, 3}, true}, {"0.bias", {4}, false}};
  return std::make_shared<const RunFacts>(facts);
}

StepReading full_reading(std::int64_t step) {
  const auto s = static_cast<double>(step);
  StepReading reading;
  reading.step = step;
  reading.parameters.resize(2);
  ParameterReading& p = reading.parameters[0];
  p = {false, 1 + s, 2, 3, -4, 5, 6, 7, 0.5, 8, 9, 0.25, 10, 11, 12, 13, 14, 15};
  reading.parameters[1].missing = true;
  reading.histograms.resize(2);
  reading.histograms[0].fill(step);
  reading.activations = {{"0", "relu", 100, 0.5, 0.1, kNotMeasured, 0, 0.4, 0.3, 0.2}};
  reading.batch_norms = {{"1", false, 0.7, 1.5}};
  reading.loss_after = 0.75;
  reading.noise_scale = kNotMeasured;
  reading.ema_distance = 0.01;
  return reading;
}

void expect_same(const ParameterReading& seen, const ParameterReading& wanted) {
  EXPECT_EQ(seen.missing, wanted.missing);
  EXPECT_EQ(seen.grad_nans, wanted.grad_nans);
  EXPECT_EQ(seen.grad_infs, wanted.grad_infs);
  for (const auto figure :
       {&ParameterReading::grad_norm, &ParameterReading::grad_mean_abs, &ParameterReading::grad_max,
        &ParameterReading::grad_min_value, &ParameterReading::grad_max_value, &ParameterReading::grad_mean,
        &ParameterReading::grad_variance, &ParameterReading::grad_zeros, &ParameterReading::grad_cosine,
        &ParameterReading::weight_norm, &ParameterReading::weight_mean, &ParameterReading::weight_variance,
        &ParameterReading::weight_max, &ParameterReading::update_norm, &ParameterReading::update_ratio}) {
    expect_same_figure(seen.*figure, wanted.*figure);
  }
}

void expect_same(const StepReading& seen, const StepReading& wanted) {
  EXPECT_EQ(seen.step, wanted.step);
  ASSERT_EQ(seen.parameters.size(), wanted.parameters.size());
  for (std::size_t i = 0; i < seen.parameters.size(); ++i) {
    expect_same(seen.parameters[i], wanted.parameters[i]);
  }
  EXPECT_EQ(seen.histograms, wanted.histograms);
  ASSERT_EQ(seen.activations.size(), 1U);
  EXPECT_EQ(seen.activations[0].layer, "0");
  EXPECT_EQ(seen.activations[0].op, "relu");
  EXPECT_EQ(seen.activations[0].elements, 100);
  expect_same_figure(seen.activations[0].dead, 0.1);
  expect_same_figure(seen.activations[0].saturated, kNotMeasured);
  expect_same_figure(seen.activations[0].grad_norm, 0.2);
  ASSERT_EQ(seen.batch_norms.size(), 1U);
  EXPECT_FALSE(seen.batch_norms[0].training);
  expect_same_figure(seen.batch_norms[0].variance_ratio, 1.5);
  expect_same_figure(seen.loss_after, wanted.loss_after);
  expect_same_figure(seen.noise_scale, wanted.noise_scale);
  expect_same_figure(seen.ema_distance, wanted.ema_distance);
}

Event seen_at(const std::shared_ptr<const RunFacts>& facts, std::int64_t step) {
  return {100.0 + static_cast<double>(step), step,
          WatchedStep{facts, std::make_shared<const StepReading>(full_reading(step))}};
}

TEST(ReadingTables, GiveBackWhatWasWritten) {
  const TemporaryFolder folder;
  const auto facts = two_parameters();
  RunStoreSink store(folder / "run.sqlite");
  const std::vector<Event> events = {seen_at(facts, 10), seen_at(facts, 20), seen_at(facts, 30)};
  store.write(events);
  const RunReader reader(folder / ".");
  const std::vector<ParameterFacts> parameters = reader.parameters();
  ASSERT_EQ(parameters.size(), 2U);
  EXPECT_EQ(parameters[0].name, "0.weight");
  EXPECT_EQ(parameters[0].shape, (std::vector<std::int64_t>{4, 3}));
  EXPECT_TRUE(parameters[0].trainable);
  EXPECT_FALSE(parameters[1].trainable);
  const auto readings = reader.readings(10);
  ASSERT_EQ(readings.size(), 2U);
  expect_same(*readings[0], full_reading(20));
  expect_same(*readings[1], full_reading(30));
}

TEST(ReadingTables, ForgetWhatAResumedRunTellsAgain) {
  const TemporaryFolder folder;
  const auto facts = two_parameters();
  RunStoreSink store(folder / "run.sqlite");
  const std::vector<Event> events = {seen_at(facts, 10), seen_at(facts, 20)};
  store.write(events);
  store.forget_after(10);
  const auto readings = RunReader(folder / ".").readings();
  ASSERT_EQ(readings.size(), 1U);
  expect_same(*readings[0], full_reading(10));
}

TEST(RunStoreDiagnosis, IsTheLastOne) {
  const TemporaryFolder folder;
  RunStoreSink store(folder / "run.sqlite");
  const Issue issue{
      .rule = "dead_units", .layer = "2", .step = 7, .value = 0.9, .threshold = 0.5, .message = "most are dead"};
  const Finding old{.cause = "saturation", .title = "saturated"};
  const Finding found{.cause = "dead_units",
                      .title = "most units are dead",
                      .layer = "2",
                      .step = 7,
                      .confidence = 0.85,
                      .evidence = {issue},
                      .remedy = "lower the rate"};
  const std::vector<Event> events = {{1, 5, Diagnosed{{old, old}}}, {2, 9, Diagnosed{{found}}}};
  store.write(events);
  const std::vector<Finding> findings = RunReader(folder / ".").findings();
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(finding_to_json(findings[0]), finding_to_json(found));
  EXPECT_EQ(findings[0].evidence[0].message, "most are dead");
  EXPECT_TRUE(findings[0].symptoms.empty());
}

}  // namespace
}  // namespace gradwise
