// The rules on data: one history that makes each speak, the healthy one, and a near miss.
#include "tests/rules/histories.h"

namespace gradwise {
namespace {

using OnBatch = std::function<void(BatchReading&, std::int64_t step)>;

Change batch_is(const OnBatch& change) {
  return [change](DraftStep& step) { change(step.batch, step.info.step); };
}

struct DataCase {
  const char* name;
  Rule (*rule)();
  OnBatch speaks;
  OnBatch near_miss;
};

class DataRule : public testing::TestWithParam<DataCase> {};

TEST_P(DataRule, SpeaksIsSilentAndJustMisses) {
  const Rule rule = GetParam().rule();
  EXPECT_TRUE(fires(rule, training(60, batch_is(GetParam().speaks))));
  EXPECT_FALSE(fires(rule, training(60))) << "healthy";
  EXPECT_FALSE(fires(rule, training(60, batch_is(GetParam().near_miss)))) << "near miss";
  EXPECT_FALSE(fires(rule, History())) << "nothing seen yet";
}

std::vector<std::int64_t> only(std::int64_t label) {
  std::vector<std::int64_t> labels(10, 0);
  labels[static_cast<std::size_t>(label % 10)] = 32;
  return labels;
}

// Class 1 is taken for class 2 in this share of its samples; all others are right.
std::vector<std::int64_t> confused(std::int64_t of_ten) {
  std::vector<std::int64_t> counts(100, 0);
  for (std::size_t c = 0; c < 10; ++c) {
    counts[11 * c] = 10;
  }
  counts[11] = 10 - of_ten;
  counts[12] = of_ten;
  return counts;
}

INSTANTIATE_TEST_SUITE_P(
    Rules, DataRule,
    testing::Values(
        DataCase{"off_centre", input_scale, [](BatchReading& b, std::int64_t) { b.input_mean = 5.5; },
                 [](BatchReading& b, std::int64_t) { b.input_mean = 4.5; }},
        DataCase{"outlier", outlier_batch,
                 [](BatchReading& b, std::int64_t step) { b.input_deviation = step == 50 ? 21 : 1; },
                 [](BatchReading& b, std::int64_t step) { b.input_deviation = step == 50 ? 19 : 1; }},
        DataCase{"wide", input_scale, [](BatchReading& b, std::int64_t) { b.input_deviation = 25; },
                 [](BatchReading& b, std::int64_t) { b.input_deviation = 15; }},
        DataCase{"narrow", input_scale,
                 [](BatchReading& b, std::int64_t) { b.input_deviation = 0.009, b.input_mean = 0; },
                 [](BatchReading& b, std::int64_t) { b.input_deviation = 0.02; }},
        DataCase{"nonfinite_input", nonfinite_input, [](BatchReading& b, std::int64_t) { b.input_nonfinite = 0.01; },
                 [](BatchReading& b, std::int64_t step) { b.input_nonfinite = step == 59 ? 0.01 : 0; }},
        DataCase{"constant_input", constant_input, [](BatchReading& b, std::int64_t) { b.input_deviation = 0; },
                 [](BatchReading& b, std::int64_t step) { b.input_deviation = step == 60 ? 1e-3 : 0; }},
        DataCase{"constant_labels", constant_labels, [](BatchReading& b, std::int64_t) { b.labels = only(3); },
                 [](BatchReading& b, std::int64_t step) { b.labels = only(step % 20 == 0 ? 4 : 3); }},
        DataCase{"imbalanced", imbalanced_labels,
                 [](BatchReading& b, std::int64_t) { b.labels = {21, 2, 2, 1, 1, 1, 1, 1, 1, 1}; },
                 [](BatchReading& b, std::int64_t) { b.labels = {14, 2, 2, 2, 2, 2, 2, 2, 2, 2}; }},
        DataCase{"imbalanced_by_text", imbalanced_labels,
                 [](BatchReading& b, std::int64_t) {
                   b.tokens = true, b.samples = 32;  // a label for each sequence
                   b.labels = {21, 2, 2, 1, 1, 1, 1, 1, 1, 1};
                 },
                 [](BatchReading& b, std::int64_t) {
                   b.tokens = true, b.samples = 4;  // a label for each token
                   b.labels = {21, 2, 2, 1, 1, 1, 1, 1, 1, 1};
                 }},
        DataCase{"unshuffled", unshuffled_data, [](BatchReading& b, std::int64_t step) { b.labels = only(step / 6); },
                 [](BatchReading& b, std::int64_t step) {
                   b.labels.assign(10, 0);
                   for (std::int64_t c = 0; c < 5; ++c) {  // half of the classes
                     b.labels[static_cast<std::size_t>((step / 6 + c) % 10)] = 6;
                   }
                 }},
        DataCase{"confused", confused_classes,
                 [](BatchReading& b, std::int64_t) { b.confusion = confused(5), b.accuracy = .9; },
                 [](BatchReading& b, std::int64_t) { b.confusion = confused(4), b.accuracy = .9; }},
        DataCase{"targets", target_scale, [](BatchReading& b, std::int64_t) { b.target_deviation = 60; },
                 [](BatchReading& b, std::int64_t) { b.target_deviation = 40; }},
        DataCase{"nonfinite_output", nonfinite_output, [](BatchReading& b, std::int64_t) { b.output_nonfinite = 0.5; },
                 [](BatchReading& b, std::int64_t step) { b.output_nonfinite = step == 59 ? 0.5 : 0; }},
        DataCase{"constant_output", constant_output, [](BatchReading& b, std::int64_t) { b.output_deviation = 1e-7; },
                 [](BatchReading& b, std::int64_t) { b.output_deviation = 1e-4; }},
        DataCase{"padded", padded_sequences, [](BatchReading& b, std::int64_t) { b.tokens = true, b.padding = 0.6; },
                 [](BatchReading& b, std::int64_t) { b.tokens = true, b.padding = 0.4; }}),
    [](const auto& info) { return info.param.name; });

TEST(ConfusedClasses, KeepsStillWhileTheLearningRateRises) {
  const auto warmed_up = [](std::int64_t warmup) {
    return training(100, [warmup](DraftStep& step) {
      step.info.lr = 1e-3 * std::min(1.0, static_cast<double>(step.info.step) / static_cast<double>(warmup));
      step.batch.confusion = confused(5);
      step.batch.accuracy = 0.9;
    });
  };
  EXPECT_FALSE(fires(confused_classes(), warmed_up(200)));
  EXPECT_FALSE(fires(confused_classes(), warmed_up(60))) << "the warm-up has only just ended";
  EXPECT_TRUE(fires(confused_classes(), warmed_up(40)));
}

TEST(OneSampleBatches, WantThePlanToSaySo) {
  const auto single = [](std::int64_t planned) {
    History history = training(20, batch_is([](BatchReading& b, std::int64_t) { b.samples = 1; }));
    history.facts.batch_size = planned;
    return history;
  };
  EXPECT_TRUE(fires(one_sample_batches(), single(1)));
  EXPECT_FALSE(fires(one_sample_batches(), single(8))) << "they are accumulated";
  EXPECT_FALSE(fires(one_sample_batches(), training(20)));
}

TEST(UnshuffledData, KeepsStillAboutSmallBatchesOfManyClasses) {
  History history = training(60, batch_is([](BatchReading& b, std::int64_t step) {
                               b.samples = 8;
                               b.labels.assign(10, 0);
                               for (std::int64_t i = 0; i < 8; ++i) {
                                 ++b.labels[static_cast<std::size_t>((step * 7 + i * 3) % 10)];
                               }
                             }));
  EXPECT_FALSE(fires(unshuffled_data(), history));
}

}  // namespace
}  // namespace gradwise
