// SageMaker Debugger's rules at their published defaults: each just beyond its threshold, just within, and healthy.
#include "tests/data/error_of.h"
#include "tests/rules/histories.h"

namespace gradwise {
namespace {

struct PublishedCase {
  const char* name;
  Rule (*rule)();
  Change speaks;
  Change near_miss;
};

Change first_parameter(double ParameterReading::* figure, double value) {
  return [figure, value](DraftStep& step) { step.reading.parameters[0].*figure = value; };
}

Change first_activation(const char* op, double ActivationReading::* figure, double value) {
  return [op, figure, value](DraftStep& step) {
    step.reading.activations[0].op = op;
    step.reading.activations[0].*figure = value;
  };
}

// Ten classes, every batch: class 0 forty times for each of the others, and `wrong` of class 1 taken for 0.
Change uneven(std::int64_t common, std::int64_t wrong) {
  return [common, wrong](DraftStep& step) {
    step.batch.labels.assign(10, 10);
    step.batch.labels[0] = common;
    step.batch.confusion.assign(100, 0);
    for (std::size_t c = 0; c < 10; ++c) {
      step.batch.confusion[11 * c] = step.batch.labels[c];
    }
    step.batch.confusion[11] -= wrong;
    step.batch.confusion[10] += wrong;
  };
}

class PublishedRule : public testing::TestWithParam<PublishedCase> {};

TEST_P(PublishedRule, SpeaksAtItsThreshold) {
  const Rule rule = GetParam().rule();
  EXPECT_EQ(rule.set, RuleSet::sagemaker);
  EXPECT_FALSE(rule.source.empty());
  EXPECT_TRUE(fires(rule, training(8, GetParam().speaks)));
  EXPECT_FALSE(fires(rule, training(8, GetParam().near_miss))) << "near miss";
  EXPECT_FALSE(fires(rule, training(8))) << "healthy";
  EXPECT_FALSE(fires(rule, History()));
}

INSTANTIATE_TEST_SUITE_P(
    SageMaker, PublishedRule,
    testing::Values(PublishedCase{"vanishing", sagemaker_vanishing_gradient,
                                  first_parameter(&ParameterReading::grad_mean_abs, 9e-8),
                                  first_parameter(&ParameterReading::grad_mean_abs, 2e-7)},
                    PublishedCase{"exploding", sagemaker_exploding_tensor,
                                  [](DraftStep& step) { step.reading.parameters[0].grad_infs = 1; },
                                  [](DraftStep& step) { step.reading.parameters[0].grad_max = 1e30; }},
                    PublishedCase{"dead", sagemaker_dead_relu, first_activation("relu", &ActivationReading::dead, 0.51),
                                  first_activation("relu", &ActivationReading::dead, 0.49)},
                    PublishedCase{"saturated", sagemaker_saturated_activation,
                                  first_activation("tanh", &ActivationReading::saturated, 0.51),
                                  first_activation("tanh", &ActivationReading::saturated, 0.49)},
                    PublishedCase{"update_large", sagemaker_weight_update_ratio,
                                  first_parameter(&ParameterReading::update_ratio, 11),
                                  first_parameter(&ParameterReading::update_ratio, 9)},
                    PublishedCase{"update_small", sagemaker_weight_update_ratio,
                                  first_parameter(&ParameterReading::update_ratio, 0.9e-8),
                                  first_parameter(&ParameterReading::update_ratio, 1.1e-8)},
                    PublishedCase{"initialization", sagemaker_poor_weight_initialization,
                                  first_parameter(&ParameterReading::weight_variance, 1.1),
                                  first_parameter(&ParameterReading::weight_variance, 0.6)},
                    PublishedCase{"unchanged", sagemaker_unchanged_tensor,
                                  first_parameter(&ParameterReading::update_norm, 2e-5),
                                  first_parameter(&ParameterReading::update_norm, 4e-5)},
                    PublishedCase{"all_zero", sagemaker_all_zero, first_parameter(&ParameterReading::grad_zeros, 1),
                                  first_parameter(&ParameterReading::grad_zeros, 0.99)},
                    PublishedCase{"class_imbalance", sagemaker_class_imbalance, uneven(110, 8), uneven(110, 6)},
                    PublishedCase{"confusion", sagemaker_confusion, uneven(10, 2), uneven(10, 1)},
                    PublishedCase{"input", sagemaker_input_not_normalized,
                                  [](DraftStep& s) { s.batch.samples = 100, s.batch.input_mean = 0.21; },
                                  [](DraftStep& s) { s.batch.samples = 100, s.batch.input_mean = 0.19; }},
                    PublishedCase{"padding", sagemaker_sequence_ratio, [](DraftStep& s) { s.batch.padding = 0.51; },
                                  [](DraftStep& s) { s.batch.padding = 0.49; }}),
    [](const auto& info) { return info.param.name; });

TEST(SageMaker, TensorVarianceHasNoDefaultThresholds) {
  Rule rule = sagemaker_tensor_variance();
  const History history = training(8, first_parameter(&ParameterReading::grad_variance, 5));
  EXPECT_FALSE(fires(rule, history));
  rule.set_parameter("max_threshold", 4);
  EXPECT_TRUE(fires(rule, history));
  const Rule strict = rule;
  rule.set_parameter("max_threshold", 6);
  EXPECT_FALSE(fires(rule, history));
  EXPECT_TRUE(fires(strict, history)) << "a copy keeps its own";
}

TEST(Rule, MadeByHandHasNoParametersToSet) {
  Rule rule{.name = "own", .parameters = {{"most", 1, "largest", positive()}}};
  rule.check = [](const History&, Sightings&) {};
  EXPECT_ERROR_WITH("rules] own.most can't be set", rule.set_parameter("most", 2));
  EXPECT_EQ(rule.parameters[0].value, 1);
}

TEST(SageMaker, LossNotDecreasingLooksEveryTenSteps) {
  const auto falling = [](double by) {
    return [by](DraftStep& step) { step.info.loss = 2 * (1 - by * static_cast<double>(step.info.step)); };
  };
  EXPECT_TRUE(fires(sagemaker_loss_not_decreasing(), training(20, falling(0.00009))));
  EXPECT_FALSE(fires(sagemaker_loss_not_decreasing(), training(20, falling(0.00011))));
  EXPECT_FALSE(fires(sagemaker_loss_not_decreasing(), training(19, falling(0.00009))));
}

History epochs_of(const std::vector<std::pair<double, double>>& train_and_validation) {
  History history = training(10);
  for (const auto& [train, validation] : train_and_validation) {
    history.validations.push_back({10, 0, train, validation, {}});
  }
  return history;
}

TEST(SageMaker, OverfitIsARatio) {
  EXPECT_TRUE(fires(sagemaker_overfit(), epochs_of({{1, 1.11}})));
  EXPECT_FALSE(fires(sagemaker_overfit(), epochs_of({{1, 1.09}})));
  EXPECT_FALSE(fires(sagemaker_overfit(), training(10)));
}

TEST(SageMaker, OvertrainingWantsFiveEpochsWithoutProgress) {
  EXPECT_TRUE(fires(sagemaker_overtraining(), epochs_of({{1, 1}, {.95, 1}, {.95, 1}, {.95, 1}, {.95, 1}, {.95, 1}})));
  EXPECT_FALSE(fires(sagemaker_overtraining(), epochs_of({{1, 1}, {.8, 1}, {.6, 1}, {.4, 1}, {.2, 1}, {.05, 1}})));
  EXPECT_FALSE(fires(sagemaker_overtraining(), epochs_of({{1, 1}, {1, 1}, {1, 1}, {1, 1}, {1, 1}})));
}

TEST(SageMaker, StalledTrainingIsHalfAnHour) {
  History history = training(5);
  history.seconds_since_step = 1801;
  EXPECT_TRUE(fires(sagemaker_stalled_training(), history));
  history.seconds_since_step = 1799;
  EXPECT_FALSE(fires(sagemaker_stalled_training(), history));
  EXPECT_FALSE(fires(sagemaker_stalled_training(), training(5)));
}

TEST(SageMaker, SimilarAcrossRunsComparesLosses) {
  History history = training(30);
  history.other_runs = {{"earlier", history.losses}};
  EXPECT_TRUE(fires(sagemaker_similar_across_runs(), history));
  history.other_runs[0].losses[7] *= 1.01;
  EXPECT_FALSE(fires(sagemaker_similar_across_runs(), history));
  EXPECT_FALSE(fires(sagemaker_similar_across_runs(), training(30)));
}

}  // namespace
}  // namespace gradwise
