// What a history keeps of a long training, and how it finds it.
#include "gradwise/rules/history.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <limits>
#include <memory>
#include <vector>

namespace gradwise {
namespace {

TEST(History, ThinsTheMiddleOfALongTrainingAlone) {
  History history;
  for (std::int64_t step = 1; step <= 20000; ++step) {
    StepInfo info;
    info.step = step;
    info.loss = static_cast<double>(step);
    history.add({info, nullptr});
  }
  EXPECT_LT(history.losses.size(), 4200U);
  EXPECT_EQ(history.losses[0], 1);
  EXPECT_EQ(history.losses[63], 64);
  EXPECT_EQ(history.recent_losses(2000).front(), 18001);
  EXPECT_TRUE(std::is_sorted(history.losses.begin(), history.losses.end()));
}

TEST(History, FindsReadingsByWhatTheyHold) {
  History history;
  for (std::int64_t step = 1; step <= 1000; ++step) {
    auto reading = std::make_shared<StepReading>();
    reading->step = step;
    reading->parameters.resize(1);
    reading->activations.resize(step % 10 == 0 ? 1 : 0);
    reading->ema_distance = step % 7 == 0 ? 0.1 : kNotMeasured;
    reading->batch = step % 5 == 0 ? std::make_shared<const BatchReading>() : nullptr;
    StepInfo info;
    info.step = step;
    info.skipped = step % 3 == 0;
    history.add({info, step % 11 == 0 ? nullptr : reading});
  }
  const auto steps_where = [&history](const std::function<bool(const StepRecord&)>& holds) {
    std::vector<std::int64_t> steps;
    for (const StepRecord& record : history.steps()) {
      if (record.reading && holds(record)) {
        steps.push_back(record.info.step);
      }
    }
    return steps;
  };
  const auto steps_of = [](const std::vector<const StepReading*>& readings) {
    std::vector<std::int64_t> steps;
    std::ranges::transform(readings, std::back_inserter(steps), &StepReading::step);
    return steps;
  };
  const auto has_activations = [](const StepRecord& record) { return !record.reading->activations.empty(); };
  EXPECT_EQ(steps_of(history.readings(1000)), steps_where([](const StepRecord&) { return true; }));
  EXPECT_EQ(steps_of(history.readings_with_activations(1000)), steps_where(has_activations));
  EXPECT_EQ(steps_of(history.readings_with_average(1000)),
            steps_where([](const StepRecord& record) { return record.reading->ema_distance >= 0; }));
  EXPECT_EQ(steps_of(history.readings_of_updates(1000)),
            steps_where([](const StepRecord& record) { return !record.info.skipped; }));
  EXPECT_EQ(history.batches(1000).size(),
            steps_where([](const StepRecord& record) { return record.reading->batch != nullptr; }).size());
  EXPECT_EQ(steps_of(history.readings_with_activations(2)), (std::vector<std::int64_t>{980, 1000}));
  EXPECT_TRUE(history.readings_with_loss_path(3).empty());
}

// What a step has shown, in the order of a training.
struct Shown {
  double loss = 1;
  std::int64_t nans = 0;
  bool skipped = false;
  bool loss_told = true;
  bool gradients_read = true;
};

History history_of(const std::vector<Shown>& steps) {
  History history;
  for (const Shown& shown : steps) {
    auto reading = std::make_shared<StepReading>();
    reading->parameters.resize(2);
    reading->parameters[1].grad_norm = 1;
    reading->parameters[1].grad_nans = shown.nans;
    reading->gradients_read = shown.gradients_read;
    StepInfo info;
    info.step = history.step() + 1;
    info.loss = shown.loss;
    info.loss_told = shown.loss_told;
    info.skipped = shown.skipped;
    history.add({info, reading});
  }
  return history;
}

TEST(History, KnowsWhenAnUpdateHasSpoiltTheWeights) {
  const double infinity = std::numeric_limits<double>::infinity();
  const auto spoilt_by = [](const Shown& second) { return spoilt_before(history_of({{}, second, {}}), 3); };
  EXPECT_FALSE(spoilt_by({}));
  EXPECT_TRUE(spoilt_by({.nans = 3}));
  EXPECT_FALSE(spoilt_by({.nans = 3, .skipped = true})) << "no update was made";
  EXPECT_FALSE(spoilt_by({.loss = infinity})) << "its gradients were numbers";
  EXPECT_TRUE(spoilt_by({.loss = infinity, .gradients_read = false}));
  EXPECT_FALSE(spoilt_by({.loss = infinity, .loss_told = false, .gradients_read = false}));
  EXPECT_FALSE(spoilt_by({.nans = 3, .gradients_read = false})) << "figures of a step before";
  EXPECT_FALSE(spoilt_before(history_of({{}, {.nans = 3}}), 2)) << "the step itself finds whole weights";
}

TEST(History, KnowsThatWeightsAreWholeAgain) {
  EXPECT_FALSE(spoilt_before(history_of({{.nans = 3}, {}, {}}), 3)) << "a step between has shown numbers";
  EXPECT_TRUE(spoilt_before(history_of({{.nans = 3}, {.loss_told = false, .gradients_read = false}, {}}), 3));
  History restored = history_of({{}, {.nans = 3}, {}});
  restored.restored_at = 2;
  EXPECT_FALSE(spoilt_before(restored, 3));
}

}  // namespace
}  // namespace gradwise
