#include "gradwise/analysis/gradient_analyzer.h"

#include <ATen/ops/batch_norm.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/dropout.h>
#include <ATen/ops/linalg_eigvalsh.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "gradwise/analysis/analysis_json.h"
#include "gradwise/core/random_state.h"
#include "tests/data/error_of.h"
#include "tests/data/temporary_folder.h"

namespace gradwise {
namespace {

at::Tensor cross_entropy(const at::Tensor& output, const at::Tensor& target) {
  return at::cross_entropy_loss(output, target);
}

// Two layers with batch norm and dropout between: everything that an analysis might leave changed.
Model busy_model() {
  const at::Tensor w1 = at::randn({16, 6}).mul(0.5).requires_grad_();
  const at::Tensor w2 = at::randn({3, 16}).mul(0.3).requires_grad_();
  const at::Tensor mean = at::zeros({16});
  const at::Tensor variance = at::ones({16});
  Model model;
  model.parameters.add("first.weight", w1);
  model.parameters.add("second.weight", w2);
  model.buffers.add("norm.mean", mean);
  model.buffers.add("norm.variance", variance);
  model.forward = [=](const Batch& batch) {
    const at::Tensor h = at::batch_norm(at::linear(batch.input, w1), {}, {}, mean, variance, true, 0.1, 1e-5, false);
    return at::linear(at::dropout(h.relu(), 0.2, true), w2);
  };
  return model;
}

struct Data {
  at::Tensor input = at::randn({64, 6});
  at::Tensor target = at::randint(3, {64}, at::kLong);
};

TEST(GradientAnalyzer, ComputesWhatBackwardDoes) {
  seed_everything(1);
  const Model model = busy_model();
  const Data data;
  const State random = random_state(at::kCPU);
  const GradientAnalysis seen = GradientAnalyzer().analyze_gradients(model, cross_entropy, data.input, data.target);
  set_random_state(random, at::kCPU);
  const at::Tensor loss = cross_entropy(model.forward({data.input, data.target, {}}), data.target);
  loss.backward();
  EXPECT_NEAR(seen.loss, loss.item<double>(), 1e-7);
  double square = 0;
  for (std::size_t i = 0; i < 2; ++i) {
    const at::Tensor g = model.parameters.tensors[i].grad();
    EXPECT_NEAR(seen.parameters[i].norm, g.norm().item<double>(), 1e-6);
    EXPECT_NEAR(seen.parameters[i].largest, g.abs().max().item<double>(), 1e-7);
    EXPECT_NEAR(seen.parameters[i].variance, g.to(at::kDouble).var(false).item<double>(), 1e-9);
    square += seen.parameters[i].norm * seen.parameters[i].norm;
  }
  EXPECT_NEAR(seen.norm, std::sqrt(square), 1e-6);
  EXPECT_NEAR(seen.layers[0].share + seen.layers[1].share, 1, 1e-9);
  EXPECT_NEAR(seen.flow.first_to_last, seen.parameters[0].rms / seen.parameters[1].rms, 1e-9);
  EXPECT_NEAR(seen.angles.layers[0].second.cosine, seen.layers[0].norm / seen.norm, 1e-9);
  EXPECT_EQ(seen.activations.size(), 1U);
}

TEST(GradientAnalyzer, LeavesEverythingAsItWas) {
  seed_everything(2);
  const Model model = busy_model();
  const Data data;
  const at::Tensor marked = at::ones({16, 6});
  at::Tensor(model.parameters.tensors[0]).mutable_grad() = marked.clone();
  const at::Tensor weights = model.parameters.tensors[0].detach().clone();
  const State before = random_state(at::kCPU);
  GradientAnalyzer analyzer({.compute_hessian = true});
  (void)analyzer.analyze_gradients(model, cross_entropy, data.input, data.target);
  EXPECT_TRUE(model.parameters.tensors[0].grad().equal(marked));
  EXPECT_FALSE(model.parameters.tensors[1].grad().defined());
  EXPECT_TRUE(model.parameters.tensors[0].equal(weights));
  EXPECT_TRUE(model.buffers.tensors[0].equal(at::zeros({16})));
  EXPECT_TRUE(model.buffers.tensors[1].equal(at::ones({16})));
  const at::Tensor drawn = at::rand({4});
  set_random_state(before, at::kCPU);
  EXPECT_TRUE(drawn.equal(at::rand({4})));
}

// Logistic regression: its Hessian has a closed form.
TEST(GradientAnalyzer, FindsTheCurvatureOfASmallProblem) {
  seed_everything(3);
  const at::Tensor w = at::zeros({2, 3}, at::kDouble).requires_grad_();
  Model model;
  model.parameters.add("w", w);
  model.forward = [w](const Batch& batch) { return at::linear(batch.input, w); };
  const at::Tensor x = at::randn({50, 3}, at::kDouble);
  const at::Tensor y = at::randint(2, {50}, at::kLong);
  GradientAnalyzer analyzer(
      {.compute_hessian = true, .hessian_eigenvalues = 1, .hessian_steps = 6, .trace_vectors = 200});
  const GradientAnalysis seen = analyzer.analyze_gradients(model, cross_entropy, x, y);
  // At w = 0 both classes have probability 1/2: H = [[1, -1], [-1, 1]] / 4 (x) X'X / n, of eigenvalue 1/2 lambda_max.
  const at::Tensor second = x.t().mm(x).div(50);
  const double largest = at::linalg_eigvalsh(second).max().item<double>();
  EXPECT_NEAR(seen.hessian.eigenvalues[0], 0.5 * largest, 1e-3 * largest);
  EXPECT_NEAR(seen.hessian.trace, 0.5 * second.trace().item<double>(), 4 * seen.hessian.trace_error + 1e-9);
  EXPECT_GT(seen.curvature_along_gradient, 0);
  EXPECT_LE(seen.curvature_along_gradient, seen.hessian.eigenvalues[0] * 1.001);
}

TEST(GradientAnalyzer, ComparesWithTheAnalysisBefore) {
  seed_everything(4);
  const Model model = busy_model();
  const Data data;
  GradientAnalyzer analyzer;
  const GradientAnalysis first = analyzer.analyze_gradients(model, cross_entropy, data.input, data.target);
  EXPECT_TRUE(std::isnan(first.angles.previous.cosine));
  const GradientAnalysis again = analyzer.analyze_gradients(model, cross_entropy, data.input, data.target);
  EXPECT_NEAR(again.angles.previous.cosine, 1, 1e-6);
  const GradientStatistics statistics = analyzer.get_gradient_statistics();
  EXPECT_EQ(statistics.analyses, 2);
  EXPECT_NEAR(statistics.norm.mean, first.norm, 1e-9);
  EXPECT_NEAR(statistics.norm.deviation, 0, 1e-9);
  EXPECT_EQ(statistics.layers.size(), 2U);
}

TEST(GradientAnalyzer, ComputesOnlyWhatIsAskedFor) {
  seed_everything(5);
  const Model model = busy_model();
  const Data data;
  GradientAnalyzer analyzer({.compute_gradient_norms = false,
                             .compute_gradient_angles = false,
                             .compute_gradient_correlation = false,
                             .compute_gradient_flow = false});
  const GradientAnalysis seen = analyzer.analyze_gradients(model, cross_entropy, data.input, data.target);
  EXPECT_GT(seen.norm, 0);
  EXPECT_TRUE(seen.parameters.empty() && seen.layers.empty() && seen.flow.rms.empty());
  EXPECT_TRUE(seen.correlation.micro_batches.empty() && seen.angles.between_layers.empty());
  EXPECT_TRUE(seen.hessian.eigenvalues.empty());
}

TEST(GradientAnalyzer, TellsWhatIsWrong) {
  seed_everything(6);
  Model model = busy_model();
  const Data data;
  GradientAnalyzer analyzer({.gradient_norm_threshold = 1e9});
  const GradientAnalysis well = analyzer.analyze_gradients(model, cross_entropy, data.input, data.target);
  EXPECT_TRUE(analyzer.detect_gradient_issues(well).empty());
  model.parameters.add("unused", at::randn({4, 4}).requires_grad_());
  const auto with_unused =
      analyzer.detect_gradient_issues(analyzer.analyze_gradients(model, cross_entropy, data.input, data.target));
  ASSERT_EQ(with_unused.size(), 1U);
  EXPECT_EQ(with_unused[0].rule, "missing_gradient");
  EXPECT_EQ(with_unused[0].layer, "unused");
  GradientAnalyzer strict({.gradient_norm_threshold = 1e-6});
  const auto large = strict.detect_gradient_issues(well);
  ASSERT_EQ(large.size(), 1U);
  EXPECT_EQ(large[0].rule, "large_gradient_norm");
  const at::Tensor spoilt = data.input.clone();
  spoilt[0][0] = NAN;
  const auto broken =
      analyzer.detect_gradient_issues(analyzer.analyze_gradients(busy_model(), cross_entropy, spoilt, data.target));
  for (const char* rule : {"nonfinite_gradient", "nonfinite_activation"}) {
    EXPECT_TRUE(std::any_of(broken.begin(), broken.end(), [rule](const Issue& i) { return i.rule == rule; })) << rule;
  }
}

TEST(GradientAnalyzer, RefusesWhatItCannotAnalyse) {
  const Model model = busy_model();
  const Data data;
  GradientAnalyzer analyzer;
  EXPECT_ERROR_WITH("the batch has 4 samples, angles and correlation need at least micro_batches = 8",
                    analyzer.analyze_gradients(model, cross_entropy, data.input.narrow(0, 0, 4), data.target));
  EXPECT_ERROR_WITH("the batch is empty",
                    analyzer.analyze_gradients(model, cross_entropy, data.input.narrow(0, 0, 0), data.target));
  EXPECT_ERROR_WITH("the loss has the shape [64, 3], allowed: a scalar",
                    analyzer.analyze_gradients(
                        model, [](const at::Tensor& o, const at::Tensor&) { return o; }, data.input, data.target));
  EXPECT_ERROR_WITH(
      "the loss has no graph",
      analyzer.analyze_gradients(
          model, [](const at::Tensor& o, const at::Tensor&) { return o.detach().sum(); }, data.input, data.target));
  Model frozen = busy_model();
  for (at::Tensor& tensor : frozen.parameters.tensors) {
    tensor.set_requires_grad(false);
  }
  EXPECT_ERROR_WITH("no parameter of the model asks for a gradient",
                    analyzer.analyze_gradients(frozen, cross_entropy, data.input, data.target));
  EXPECT_ERROR_WITH("micro_batches is 1, allowed: >= 2", GradientAnalyzer({.micro_batches = 1}));
  EXPECT_ERROR_WITH("there is no analysis to plot yet", analyzer.plot_gradient_analysis("a.png"));
}

TEST(GradientAnalyzer, DrawsAndSerialises) {
  seed_everything(8);
  const TemporaryFolder folder;
  const Model model = busy_model();
  const Data data;
  GradientAnalyzer analyzer({.compute_hessian = true});
  const GradientAnalysis seen = analyzer.analyze_gradients(model, cross_entropy, data.input, data.target);
  const nlohmann::json json = seen;
  EXPECT_EQ(json["parameters"].size(), 2U);
  EXPECT_NEAR(json["norm"].get<double>(), seen.norm, 1e-12);
  EXPECT_TRUE(json["angles"]["previous"]["cosine"].is_null());
  EXPECT_EQ(json["correlation"]["classes"].size(), 3U);
  EXPECT_EQ(json["correlation"]["between_classes"].size(), 9U);
  const PlotStatus status = analyzer.plot_gradient_analysis(folder / "a.svg");
  if (status.reason == "the program gnuplot is not installed") {
    GTEST_SKIP() << status.reason;
  }
  EXPECT_TRUE(status.drawn) << status.reason;
  EXPECT_FALSE(analyzer.plot_gradient_analysis(folder / "no/such/a.svg").drawn);
  EXPECT_ERROR_WITH("allowed: .png, .svg, .pdf", analyzer.plot_gradient_analysis(folder / "a.bmp"));
}

}  // namespace
}  // namespace gradwise
