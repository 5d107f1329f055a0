#include "tests/rules/histories.h"

namespace gradwise {
namespace {

TEST(DeadUnits, OfOneLayerInThreeReadings) {
  const auto dying = [](double share) {
    return [share](DraftStep& step) { step.reading.activations[1].dead = share; };
  };
  EXPECT_EQ(layers_found(dead_units(), training(20, dying(0.9))), std::vector<std::string>{"2"});
  EXPECT_FALSE(fires(dead_units(), training(20)));
  EXPECT_FALSE(fires(dead_units(), training(20, dying(0.49))));
  EXPECT_FALSE(fires(dead_units(), training(2, dying(0.9)))) << "two readings are not enough";
}

using Layers = std::vector<std::string>;

Change in_second(const char* op, double ActivationReading::* figure, double value) {
  return [=](DraftStep& step) {
    step.reading.activations[1].op = op;
    step.reading.activations[1].*figure = value;
  };
}

Change path(std::vector<std::string> ops) {
  return [ops](DraftStep& step) { step.reading.loss_path = ops; };
}

Change both(const Change& first, const Change& second) {
  return [=](DraftStep& step) {
    first(step);
    second(step);
  };
}

// The graph is read in every tenth step alone.
Change seldom(const Change& change) {
  return [=](DraftStep& step) {
    change(step);
    if (step.info.step % 10 != 0) {
      step.reading.activations.clear();
      step.reading.batch_norms.clear();
      step.reading.loss_path.clear();
    }
  };
}

TEST(SaturatedUnits, OfSigmoidAndTanh) {
  const auto saturated = [](const char* op, double share) {
    return in_second(op, &ActivationReading::saturated, share);
  };
  EXPECT_EQ(layers_found(saturated_units(), training(20, saturated("tanh", 0.8))), Layers{"2"});
  EXPECT_EQ(layers_found(saturated_units(), training(30, seldom(saturated("sigmoid", 0.8)))), Layers{"2"});
  EXPECT_FALSE(fires(saturated_units(), training(20)));
  EXPECT_FALSE(fires(saturated_units(), training(20, saturated("tanh", 0.49))));
  EXPECT_FALSE(fires(saturated_units(), training(20, saturated("hardtanh", 0.8)))) << "ReLU6";
  EXPECT_FALSE(fires(saturated_units(), training(29, seldom(saturated("sigmoid", 0.8)))));
}

TEST(SaturatedUnits, ButNotOfTheOutput) {
  const Change sure = [](DraftStep& step) {
    step.reading.activations.push_back({.layer = "4", .op = "sigmoid", .elements = 32, .saturated = 0.9});
    step.reading.loss_path = {"sigmoid", "binary_cross_entropy"};
  };
  EXPECT_FALSE(fires(saturated_units(), training(20, sure)));
}

TEST(NonfiniteActivation, NamesTheFirst) {
  const Change first = [](DraftStep& step) {
    step.reading.activations[0].nonfinite = 0.1;
    step.reading.activations[1].nonfinite = 1;
  };
  EXPECT_EQ(layers_found(nonfinite_activation(), training(3, first)), Layers{"0"});
  EXPECT_EQ(layers_found(nonfinite_activation(), training(3, in_second("relu", &ActivationReading::nonfinite, 0.1))),
            Layers{"2"});
  EXPECT_FALSE(fires(nonfinite_activation(), training(3)));
  EXPECT_FALSE(
      fires(nonfinite_activation(), training(3, in_second("relu", &ActivationReading::nonfinite, kNotMeasured))));
  EXPECT_FALSE(fires(nonfinite_activation(), training(3, in_second("log_softmax", &ActivationReading::nonfinite, 0.1))))
      << "masked scores";
}

TEST(NonfiniteActivation, IsNoSignAfterAnUpdateThatSpoiltTheWeights) {
  const auto broken = [](bool skipped) {
    return [skipped](DraftStep& step) {
      step.reading.parameters[4].grad_nans = step.info.step == 2 ? 10 : 0;
      step.info.skipped = skipped && step.info.step == 2;
      step.reading.activations[0].nonfinite = step.info.step > 2 ? 1 : 0;
    };
  };
  EXPECT_FALSE(fires(nonfinite_activation(), training(3, broken(false))));
  EXPECT_TRUE(fires(nonfinite_activation(), training(3, broken(true))));
}

Change norms(std::vector<BatchNormReading> of, std::int64_t samples = 32) {
  return [=](DraftStep& step) {
    step.reading.batch_norms = of;
    step.batch.samples = samples;
  };
}

TEST(BatchNormDrift, OfOneNorm) {
  const auto drift = [](double gap, double ratio, bool training = true) {
    return norms({{"bn1", true, 0.1, 1}, {"bn2", training, gap, ratio}});
  };
  EXPECT_EQ(layers_found(batch_norm_drift(), training(220, drift(0.1, 12))), Layers{"bn2"});
  EXPECT_EQ(layers_found(batch_norm_drift(), training(220, drift(0.1, 0.08))), Layers{"bn2"});
  EXPECT_EQ(layers_found(batch_norm_drift(), training(220, drift(3.5, 1))), Layers{"bn2"});
  EXPECT_FALSE(fires(batch_norm_drift(), training(220)));
  EXPECT_FALSE(fires(batch_norm_drift(), training(220, drift(2.9, 9)))) << "under both bounds";
  EXPECT_FALSE(fires(batch_norm_drift(), training(220, drift(2.9, 0.11))));
  EXPECT_FALSE(fires(batch_norm_drift(), training(201, drift(0.1, 12)))) << "two readings since the 200th step";
  EXPECT_FALSE(fires(batch_norm_drift(), training(220, drift(0.1, 12, false)))) << "evaluation mode";
  EXPECT_FALSE(fires(batch_norm_drift(), training(220, drift(kNotMeasured, kNotMeasured))));
  EXPECT_FALSE(fires(batch_norm_drift(), training(220, norms({{"bn", true, 9, 1}}, 2)))) << "batches of two";
}

TEST(BatchNormEvaluation, OfAllNorms) {
  const Change forgotten = norms({{"bn1", false, 2, 3}, {"bn2", false, kNotMeasured, kNotMeasured}});
  EXPECT_EQ(layers_found(batch_norm_evaluation(), training(5, forgotten)), Layers{"bn1"});
  EXPECT_FALSE(fires(batch_norm_evaluation(), training(5)));
  EXPECT_FALSE(fires(batch_norm_evaluation(), training(4, forgotten)));
  EXPECT_TRUE(fires(batch_norm_evaluation(), training(5, norms({{"bn1", false, 0.3, 1}}))));
  EXPECT_FALSE(fires(batch_norm_evaluation(), training(5, norms({{"bn1", false, 2, 3}, {"bn2", true, 0, 1}}))))
      << "some of them on purpose";
  EXPECT_FALSE(fires(batch_norm_evaluation(), training(5, norms({{"bn1", false, 0.15, 1.2}})))) << "no harm";
  History frozen = training(5, forgotten);
  frozen.facts.parameters.push_back({"bn2.weight", {16}, false});
  EXPECT_FALSE(fires(batch_norm_evaluation(), frozen)) << "frozen on purpose";
}

TEST(BatchNormOfFew, Samples) {
  const auto of = [](std::int64_t samples, bool train = true) { return norms({{"bn", train, 0.5, 1}}, samples); };
  EXPECT_EQ(layers_found(batch_norm_of_few(), training(5, of(2))), Layers{"bn"});
  EXPECT_FALSE(fires(batch_norm_of_few(), training(5)));
  EXPECT_FALSE(fires(batch_norm_of_few(), training(5, of(3))));
  EXPECT_FALSE(fires(batch_norm_of_few(), training(5, of(2, false))));
  EXPECT_FALSE(fires(batch_norm_of_few(), training(2, of(2))));
  const Change last_of_epoch = [&of](DraftStep& step) { of(step.info.step % 3 == 0 ? 1 : 32)(step); };
  EXPECT_FALSE(fires(batch_norm_of_few(), training(6, last_of_epoch)));
  History images = training(5, of(2));
  images.facts.parameters[0].shape = {16, 3, 3, 3};
  EXPECT_FALSE(fires(batch_norm_of_few(), images)) << "each sample has many positions";
  images = training(5, of(1));
  images.facts.parameters[0].shape = {16, 3, 3, 3};
  EXPECT_TRUE(fires(batch_norm_of_few(), images));
}

TEST(DoubleSoftmax, InTheGraph) {
  EXPECT_TRUE(fires(double_softmax(), training(20, seldom(path({"softmax", "log_softmax", "nll"})))));
  EXPECT_TRUE(fires(double_softmax(), training(20, path({"softmax", "dropout", "log_softmax", "nll"}))));
  EXPECT_FALSE(fires(double_softmax(), training(20)));
  EXPECT_FALSE(fires(double_softmax(), training(19, seldom(path({"softmax", "log_softmax", "nll"}))))) << "one";
  EXPECT_FALSE(fires(double_softmax(), training(20, path({"softmax", "log", "nll"}))));
  EXPECT_FALSE(fires(double_softmax(), training(20, path({"log_softmax", "nll"}))));
  EXPECT_FALSE(fires(double_softmax(), training(20, path({"log_softmax", "log_softmax", "nll"})))) << "no harm";
}

TEST(DoubleSoftmax, InTheOutput) {
  const auto distributions = [](std::int64_t from) {
    return [from](DraftStep& step) { step.batch.output_rows_sum_to_one = step.info.step >= from; };
  };
  EXPECT_TRUE(fires(double_softmax(), training(20, distributions(18))));
  EXPECT_FALSE(fires(double_softmax(), training(20, distributions(19))));
  History own = training(20, distributions(1));
  own.facts.loss = "";
  EXPECT_FALSE(fires(double_softmax(), own)) << "a loss that may ask for distributions";
}

TEST(SigmoidBeforeCrossEntropy, OfBothKinds) {
  const Rule rule = sigmoid_before_cross_entropy();
  EXPECT_TRUE(fires(rule, training(20, seldom(path({"sigmoid", "log_softmax", "nll"})))));
  EXPECT_TRUE(fires(rule, training(20, path({"sigmoid", "binary_cross_entropy_with_logits"}))));
  EXPECT_FALSE(fires(rule, training(20)));
  EXPECT_FALSE(fires(rule, training(19, seldom(path({"sigmoid", "log_softmax", "nll"})))));
  EXPECT_FALSE(fires(rule, training(20, path({"sigmoid", "binary_cross_entropy"}))));
  EXPECT_FALSE(fires(rule, training(20, path({"tanh", "log_softmax", "nll"})))) << "capped scores";
}

TEST(RectifiedOutput, OfScores) {
  EXPECT_EQ(layers_found(rectified_output(), training(20, seldom(path({"relu", "log_softmax", "nll"})))), Layers{"4"});
  EXPECT_TRUE(fires(rectified_output(), training(20, path({"relu", "binary_cross_entropy_with_logits"}))));
  EXPECT_FALSE(fires(rectified_output(), training(20)));
  EXPECT_FALSE(fires(rectified_output(), training(19, seldom(path({"relu", "log_softmax", "nll"})))));
  EXPECT_FALSE(fires(rectified_output(), training(20, path({"relu", "linalg_vector_norm", "log_softmax", "nll"}))));
  EXPECT_FALSE(fires(rectified_output(), training(20, path({"relu"})))) << "a loss of its own";
  History images = training(20, path({"relu", "log_softmax", "nll"}));
  images.facts.parameters[4].shape = {10, 16, 1, 1};
  EXPECT_FALSE(fires(rectified_output(), images)) << "SqueezeNet";
}

TEST(RectifiedOutput, OfNumbersThatAreNegative) {
  const auto targets = [](double mean) {
    return [mean](DraftStep& step) {
      step.reading.loss_path = {"relu", "mse"};
      step.batch.target_mean = mean;
      step.batch.target_deviation = 1;
    };
  };
  EXPECT_TRUE(fires(rectified_output(), training(20, targets(-0.3))));
  EXPECT_FALSE(fires(rectified_output(), training(20, targets(-0.15))));
  EXPECT_FALSE(fires(rectified_output(), training(20, targets(kNotMeasured))));
}

TEST(MissingLogSoftmax, BeforeNll) {
  EXPECT_TRUE(fires(missing_log_softmax(), training(20, seldom(path({"nll"})))));
  EXPECT_TRUE(fires(missing_log_softmax(), training(20, path({"softmax", "nll"}))));
  EXPECT_FALSE(fires(missing_log_softmax(), training(20)));
  EXPECT_FALSE(fires(missing_log_softmax(), training(19, seldom(path({"nll"})))));
  EXPECT_FALSE(fires(missing_log_softmax(), training(20, path({"softmax", "log", "nll"}))));
  EXPECT_FALSE(fires(missing_log_softmax(), training(20, path({"mse"}))));
}

TEST(MissingActivation, BetweenDenseLayers) {
  const Change linear = [](DraftStep& step) { step.reading.activations.clear(); };
  EXPECT_TRUE(fires(missing_activation(), training(30, seldom(linear))));
  EXPECT_FALSE(fires(missing_activation(), training(30)));
  EXPECT_FALSE(fires(missing_activation(), training(29, seldom(linear)))) << "two readings";
  EXPECT_FALSE(fires(missing_activation(), training(30, both(linear, path({}))))) << "the graph was not read";
  const Change only_after_last = [](DraftStep& step) {
    step.reading.activations = {{.layer = "4", .op = "sigmoid"}};
    step.reading.loss_path = {"sigmoid", "binary_cross_entropy"};
  };
  EXPECT_TRUE(fires(missing_activation(), training(30, only_after_last)));
  const Change hidden_too = [](DraftStep& step) {
    step.reading.activations = {{.layer = "2", .op = "sigmoid"}};
    step.reading.loss_path = {"sigmoid", "binary_cross_entropy"};
  };
  EXPECT_FALSE(fires(missing_activation(), training(30, hidden_too)));
}

TEST(MissingActivation, IsNotSaidOfOtherKinds) {
  const Change linear = [](DraftStep& step) { step.reading.activations.clear(); };
  const auto with = [&linear](const std::function<void(RunFacts&)>& change) {
    History history = training(30, linear);
    change(history.facts);
    return history;
  };
  EXPECT_FALSE(fires(missing_activation(), with([](RunFacts& f) { f.parameters[0].shape = {16, 3, 3, 3}; })));
  EXPECT_FALSE(fires(missing_activation(), with([](RunFacts& f) { f.parameters[2].name = "cell.weight_hh_l0"; })));
  EXPECT_FALSE(fires(missing_activation(), with([](RunFacts& f) {
                       f.parameters = {{"user_embedding.weight", {100, 8}}, {"item_embedding.weight", {100, 8}}};
                     })));
}

TEST(ActivationRules, AreSilentWhereNothingWasRead) {
  History bare;
  for (std::int64_t i = 1; i <= 350; ++i) {
    StepInfo info;
    info.step = i;
    bare.add({info, std::make_shared<const StepReading>()});
  }
  for (const Rule& rule : {saturated_units(), nonfinite_activation(), batch_norm_drift(), batch_norm_evaluation(),
                           batch_norm_of_few(), double_softmax(), sigmoid_before_cross_entropy(), rectified_output(),
                           missing_log_softmax(), missing_activation()}) {
    EXPECT_FALSE(fires(rule, History{})) << rule.name;
    EXPECT_FALSE(fires(rule, bare)) << rule.name;
    bare.facts = training(1).facts;
    EXPECT_FALSE(fires(rule, bare)) << rule.name << ", with facts";
    for (const std::size_t steps : {1U, 2U, 9U, 55U, 199U, 399U, 800U}) {
      EXPECT_FALSE(fires(rule, training(steps))) << rule.name << " after " << steps << " healthy steps";
    }
  }
}

}  // namespace
}  // namespace gradwise
