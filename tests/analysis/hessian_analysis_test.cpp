#include "gradwise/analysis/hessian_analysis.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/diag.h>
#include <ATen/ops/dropout.h>
#include <ATen/ops/linalg_eigvalsh.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/stack.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "gradwise/analysis/analysis_json.h"
#include "gradwise/analysis/gradient_analyzer.h"
#include "gradwise/core/random_state.h"
#include "tests/data/error_of.h"

namespace gradwise {
namespace {

constexpr std::int64_t kFirst = 4 * 5 + 5;   // rows of the first layer
constexpr std::int64_t kSecond = 5 * 3 + 3;  // of the second

at::Tensor class_loss(const at::Tensor& output, const at::Tensor& target) {
  return at::cross_entropy_loss(output, target);
}

// Two layers and a batch, of the same numbers in float64 and float32; `dropped`: share of hidden units that dropout
// takes out.
struct Problem {
  Problem() : Problem(0) {}
  explicit Problem(double dropped, at::ScalarType type = at::kDouble) {
    seed_everything(11);
    const auto weights = [type](at::IntArrayRef shape) {
      return at::randn(shape, at::kDouble).to(at::kFloat).to(type).requires_grad_();
    };
    const at::Tensor w1 = weights({5, 4});
    const at::Tensor b1 = weights({5});
    const at::Tensor w2 = weights({3, 5});
    const at::Tensor b2 = weights({3});
    model.parameters.add("first.weight", w1);
    model.parameters.add("first.bias", b1);
    model.parameters.add("second.weight", w2);
    model.parameters.add("second.bias", b2);
    model.forward = [=](const Batch& batch) {
      const at::Tensor hidden = at::linear(batch.input, w1, b1).tanh();
      return at::linear(at::dropout(hidden, dropped, /*train=*/true), w2, b2);
    };
    batch = {at::randn({32, 4}, at::kDouble).to(at::kFloat).to(type), at::randint(3, {32}, at::kLong), {}};
  }

  // Row by row, by the engine itself; draws what a first pass draws from the random state as it stands.
  [[nodiscard]] at::Tensor dense() const {
    const RandomStateGuard random(at::kCPU);
    const at::Tensor loss = class_loss(model.forward(batch), batch.target);
    std::vector<at::Tensor> parts;
    for (const at::Tensor& g : torch::autograd::grad({loss}, model.parameters.tensors, {}, true, true)) {
      parts.push_back(g.reshape({-1}));
    }
    const at::Tensor gradient = at::cat(parts);
    std::vector<at::Tensor> rows;
    for (std::int64_t i = 0; i < gradient.size(0); ++i) {
      std::vector<at::Tensor> row;
      const auto parts_of_row =
          torch::autograd::grad({gradient[i]}, model.parameters.tensors, {}, true, false, /*allow_unused=*/true);
      for (std::size_t p = 0; p < parts_of_row.size(); ++p) {
        const at::Tensor& part = parts_of_row[p];
        row.push_back((part.defined() ? part : model.parameters.tensors[p].detach().mul(0)).reshape({-1}));
      }
      rows.push_back(at::cat(row));
    }
    return at::stack(rows);
  }

  [[nodiscard]] GradientAnalysis measure(GradientAnalysisConfig config, const StepRule& rule = {}) const {
    GradientAnalysis result;
    measure_hessian(model, class_loss, batch, config, rule, result);
    return result;
  }

  Model model;
  Batch batch;
};

double largest_of(const at::Tensor& matrix) { return at::linalg_eigvalsh(matrix).max().item<double>(); }

at::Tensor block_of(const at::Tensor& matrix, std::int64_t first, std::int64_t count) {
  return matrix.narrow(0, first, count).narrow(1, first, count);
}

TEST(HessianAnalysis, EqualsTheDenseMatrixAndItsBlocks) {
  for (const double dropped : {0.0, 0.4}) {
    const Problem problem(dropped);
    const at::Tensor dense = problem.dense();
    const GradientAnalysis seen = problem.measure({.hessian_steps = 43, .trace_vectors = 300});
    const HessianSummary& hessian = seen.hessian;
    EXPECT_NEAR(hessian.sharpness, largest_of(dense), 1e-9);
    EXPECT_NEAR(hessian.smallest, at::linalg_eigvalsh(dense).min().item<double>(), 1e-9);
    EXPECT_NEAR(hessian.trace, dense.trace().item<double>(), 4 * hessian.trace_error);
    ASSERT_EQ(hessian.layers.size(), 2U);
    const std::vector<at::Tensor> blocks{block_of(dense, 0, kFirst), block_of(dense, kFirst, kSecond)};
    for (std::size_t i = 0; i < 2; ++i) {
      const LayerCurvature& layer = hessian.layers[i];
      EXPECT_EQ(layer.name, i == 0 ? "first" : "second");
      EXPECT_EQ(layer.parameters, blocks[i].size(0));
      EXPECT_NEAR(layer.largest, largest_of(blocks[i]), 1e-3 * layer.largest) << layer.name;
      EXPECT_NEAR(layer.trace, blocks[i].trace().item<double>(), 4 * layer.trace_error) << layer.name;
      EXPECT_GT(layer.trace_error, 0);
    }
  }
}

// Either name is a pattern that matches the other.
TEST(HessianAnalysis, TakesALayerByItsNameThoughThatReadsAsAPattern) {
  Problem problem;
  problem.model.parameters.names = {"layer*.weight", "layer*.bias", "layer?.weight", "layer?.bias"};
  const at::Tensor dense = problem.dense();
  const std::vector<LayerCurvature> layers = problem.measure({.hessian_steps = 43}).hessian.layers;
  ASSERT_EQ(layers.size(), 2U);
  EXPECT_EQ(layers[0].parameters, kFirst);
  EXPECT_NEAR(layers[0].largest, largest_of(block_of(dense, 0, kFirst)), 1e-3 * layers[0].largest);
  EXPECT_EQ(layers[1].parameters, kSecond);
  EXPECT_NEAR(layers[1].largest, largest_of(block_of(dense, kFirst, kSecond)), 1e-3 * layers[1].largest);
}

TEST(HessianAnalysis, ResidualsBoundTheDistanceToAnEigenvalue) {
  const Problem problem;
  const at::Tensor dense = problem.dense();
  const HessianSummary hessian = problem.measure({.hessian_eigenvalues = 2, .hessian_steps = 4}).hessian;
  ASSERT_EQ(hessian.eigenvalues.size(), 2U);
  for (std::size_t i = 0; i < 2; ++i) {
    const double away = at::linalg_eigvalsh(dense).sub(hessian.eigenvalues[i]).abs().min().item<double>();
    EXPECT_LE(away, hessian.eigenvalue_errors[i] + 1e-12);
    EXPECT_GT(hessian.eigenvalue_errors[i], 1e-9) << "four products are too few to settle";
  }
  const double away =
      at::linalg_eigvalsh(block_of(dense, 0, kFirst)).sub(hessian.layers[0].largest).abs().min().item<double>();
  EXPECT_LE(away, hessian.layers[0].largest_error + 1e-12);
}

TEST(HessianAnalysis, ResidualsAreNoLessThanWhatRoundingLeaves) {
  const HessianSummary hessian = Problem(0, at::kFloat).measure({.hessian_steps = 43}).hessian;
  EXPECT_LE(std::abs(hessian.sharpness - largest_of(Problem().dense())), hessian.eigenvalue_errors[0]);
  EXPECT_LT(hessian.eigenvalue_errors[0], 1e-4 * hessian.sharpness);
}

TEST(HessianAnalysis, TheDensityIsOneInSumAndHasABandFromTwoVectorsOn) {
  const Problem problem;
  const HessianSummary hessian = problem.measure({.hessian_steps = 20, .density_vectors = 3}).hessian;
  ASSERT_EQ(hessian.density_errors.size(), hessian.density.size());
  double integral = 0;
  for (std::size_t i = 1; i < hessian.density.size(); ++i) {
    integral += 0.5 * (hessian.density[i].second + hessian.density[i - 1].second) *
                (hessian.density[i].first - hessian.density[i - 1].first);
  }
  EXPECT_NEAR(integral, 1, 0.02);
  EXPECT_TRUE(problem.measure({.density_vectors = 1}).hessian.density_errors.empty());
}

TEST(HessianAnalysis, TheEdgeOfStabilityIsTheRateTimesTheLargestEigenvalue) {
  const Problem problem;
  const at::Tensor dense = problem.dense();
  const GradientAnalysisConfig config{.hessian_steps = 43, .hessian_layers = false};
  const StabilityEdge plain = problem.measure(config, sgd_rule(0.25)).hessian.edge;
  EXPECT_NEAR(plain.value, 0.25 * largest_of(dense), 1e-9);
  EXPECT_EQ(plain.threshold, 2);
  EXPECT_EQ(plain.unknown, "");

  // Rates and second moments of each parameter.
  std::vector<AdamMoments> moments;
  std::vector<at::Tensor> roots;
  const std::vector<double> rates{0.1, 0.1, 0.02, 0.05};
  for (std::size_t i = 0; i < 4; ++i) {
    moments.push_back({at::rand(problem.model.parameters.tensors[i].sizes(), at::kDouble).add(0.01), 3});
    const at::Tensor preconditioner =
        moments[i].exp_avg_sq.div(1 - std::pow(0.99, 3)).sqrt().add(1e-8).mul(1 - std::pow(0.9, 3));
    roots.push_back(preconditioner.reciprocal().mul(rates[i]).sqrt().reshape({-1}));
  }
  const at::Tensor scale = at::diag(at::cat(roots));
  const StepRule adam = with_rates(adam_rule("adam", 0.1, {0.9, 0.99, 1e-8}, moments), rates);
  const StabilityEdge preconditioned = problem.measure(config, adam).hessian.edge;
  const double wanted = largest_of(scale.mm(dense).mm(scale));
  EXPECT_NEAR(preconditioned.value, wanted, 1e-3 * wanted);
  EXPECT_NEAR(preconditioned.threshold, 38, 1e-9);
  EXPECT_EQ(preconditioned.learning_rate, 0.1);
  EXPECT_TRUE(preconditioned.preconditioned);
  EXPECT_FALSE(plain.preconditioned);
}

TEST(HessianAnalysis, ARateOfZeroAndNoRateAtAll) {
  const Problem problem;
  const StabilityEdge still = problem.measure({.hessian_layers = false}, sgd_rule(0)).hessian.edge;
  EXPECT_EQ(still.value, 0);
  EXPECT_EQ(still.threshold, 2);
  const GradientAnalysis seen = problem.measure({.hessian_layers = false});
  EXPECT_TRUE(std::isnan(seen.hessian.edge.value));
  EXPECT_TRUE(seen.hessian.layers.empty());
  EXPECT_GT(seen.hessian.sharpness, 0);
  const nlohmann::json json = seen;
  const nlohmann::json& edge = json["hessian"]["edge_of_stability"];
  EXPECT_TRUE(edge["value"].is_null() && edge["learning_rate"].is_null());
  EXPECT_EQ(edge["unknown"], "no learning rate was given");
}

TEST(HessianAnalysis, IsWrittenAsJson) {
  const Problem problem;
  GradientAnalyzer analyzer({.compute_hessian = true});
  const nlohmann::json json = analyzer.analyze_gradients(problem.model, class_loss, problem.batch.input,
                                                         problem.batch.target, sgd_rule(0.1, {.momentum = 0.9}));
  const nlohmann::json& hessian = json["hessian"];
  EXPECT_EQ(hessian["eigenvalues"].size(), 3U);
  EXPECT_EQ(hessian["sharpness"], hessian["eigenvalues"][0]);
  EXPECT_EQ(hessian["density"].size(), hessian["density_errors"].size());
  ASSERT_EQ(hessian["layers"].size(), 2U);
  EXPECT_EQ(hessian["layers"][1]["name"], "second");
  EXPECT_EQ(hessian["layers"][1]["parameters"], kSecond);
  EXPECT_GT(hessian["products"], 0);
  for (const char* key : {"largest", "largest_error", "trace", "trace_error", "products"}) {
    EXPECT_TRUE(hessian["layers"][0][key].is_number()) << key;
  }
  const nlohmann::json& edge = hessian["edge_of_stability"];
  EXPECT_NEAR(edge["value"].get<double>(), 0.1 * hessian["sharpness"].get<double>(), 1e-12);
  EXPECT_NEAR(edge["threshold"].get<double>(), 3.8, 1e-12);
  EXPECT_EQ(edge["optimizer"], "sgd with momentum");
}

TEST(HessianAnalysis, TellsOfEachProduct) {
  const Problem problem;
  std::map<std::string, AnalysisProgress> last;
  std::int64_t told = 0;
  GradientAnalysisConfig config{.hessian_steps = 6, .trace_vectors = 5};
  config.progress = [&](const AnalysisProgress& now) {
    EXPECT_EQ(now.done, last.contains(now.part) ? last[now.part].done + 1 : 0) << now.part;
    EXPECT_LE(now.done, now.total);
    last[now.part] = now;
    ++told;
  };
  config.hessian_layers = false;
  EXPECT_EQ(problem.measure(config, with_rates(sgd_rule(1), {1, 1, 2, 2})).hessian.products, 1 + 12 + 5 + 6);
  EXPECT_EQ(last["trace"].done, 5);
  EXPECT_EQ(last["eigenvalues and density"].done, 12);
  EXPECT_EQ(last["edge of stability"].done, 6);
  EXPECT_EQ(told, 2 + 2 + 6 + 13 + 7);
  config.hessian_layers = true;
  config.progress = [&last](const AnalysisProgress& now) { last[now.part] = now; };
  const HessianSummary seen = problem.measure(config).hessian;
  EXPECT_EQ(last["layers"].done, 2 * (1 + 6 + 5));
  EXPECT_EQ(seen.products, 1 + 12 + 5);
  ASSERT_EQ(seen.layers.size(), 2U);
  for (const LayerCurvature& layer : seen.layers) {
    EXPECT_LE(layer.products, 6 + 5);  // Lanczos ends where the eigenvalue is there
    EXPECT_GT(layer.products, 5);
  }
}

TEST(HessianAnalysis, RefusesARuleOfAnotherModel) {
  const Problem problem;
  EXPECT_ERROR_WITH("the step rule has 2 scales, allowed: one for each of the 4 trainable parameters",
                    problem.measure({}, with_rates(sgd_rule(1), {1, 2})));
  const std::vector<AdamMoments> moments(4, {at::rand({2}, at::kDouble), 1});
  EXPECT_ERROR_WITH("scale of first.weight has the shape [2], allowed: [5, 4], or one number",
                    problem.measure({}, adam_rule("adam", 1, {}, moments)));
}

}  // namespace
}  // namespace gradwise
