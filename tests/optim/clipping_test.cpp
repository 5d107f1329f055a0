#include "gradwise/optim/clipping.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "gradwise/optim/autograd_optimizer.h"
#include "tests/data/error_of.h"
#include "tests/data/tensor_of.h"
#include "tests/optim/toy_model.h"

namespace gradwise {
namespace {

/// Tensors of every number of dimensions, a scalar and an empty one among them.
std::vector<at::Tensor> mixed_tensors(unsigned int seed, at::ScalarType dtype, double scale = 1) {
  std::vector<at::Tensor> tensors;
  for (const std::vector<std::int64_t>& shape :
       std::vector<std::vector<std::int64_t>>{{}, {7}, {0, 3}, {3, 5}, {4, 2, 3}, {2, 3, 2, 2}}) {
    tensors.push_back(random_tensor(shape, seed++, dtype).mul(scale));
  }
  return tensors;
}

TEST(GlobalNorm, IsTheNormOverAllElements) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kBFloat16, at::kHalf}) {
    const std::vector<at::Tensor> tensors = mixed_tensors(3, dtype);
    const at::Tensor norm = global_norm(tensors);
    EXPECT_EQ(norm.dim(), 0);
    EXPECT_EQ(norm.scalar_type(), dtype == at::kDouble ? at::kDouble : at::kFloat);
    EXPECT_NEAR(norm.item<double>(), norm_of(tensors), dtype == at::kDouble ? 1e-12 : 1e-5 * norm_of(tensors));
  }
  EXPECT_EQ(global_norm({}).item<double>(), 0);
}

TEST(GlobalNorm, OfHalfPrecisionDoesNotOverflow) {
  const at::Tensor gradient = random_tensor({1000}, 1).sign().mul(100).to(at::kHalf);  // its squares sum to 1e7
  EXPECT_NEAR(global_norm({gradient}).item<double>(), 100 * std::sqrt(1000.0), 0.01);
}

// torch.nn.utils.clip_grad_norm_: clip_coef = max_norm / (total_norm + 1e-6), clamped to 1
TEST(ClipByNorm, FollowsTorchsFormula) {
  for (const double max_norm : {0.1, 1.0, 2.0, 100.0}) {
    std::vector<at::Tensor> gradients = mixed_tensors(5, at::kFloat);
    const std::vector<at::Tensor> before = copies_of(gradients);
    const double norm = norm_of(before);
    const double coefficient = std::min(1.0, max_norm / (norm + 1e-6));
    EXPECT_EQ(clip_by_norm(gradients, norm, max_norm), coefficient < 1);
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      if (coefficient < 1) {
        expect_close(gradients[i], before[i].to(at::kDouble).mul(coefficient), 1e-7);
      } else {
        EXPECT_TRUE(same_bits(gradients[i], before[i]));
      }
    }
    if (coefficient < 1) {
      EXPECT_NEAR(norm_of(gradients), max_norm, 1e-5 * max_norm);
    }
  }
  EXPECT_FALSE(clip_by_norm({}, 0, 1));
}

TEST(ClipByValue, ClampsEachElement) {
  std::vector<at::Tensor> gradients = mixed_tensors(7, at::kFloat, 2);
  const std::vector<at::Tensor> before = copies_of(gradients);
  clip_by_value(gradients, 0.75);
  std::int64_t changed = 0;
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    const std::vector<float> old_values = values_of<float>(before[i]);
    const std::vector<float> values = values_of<float>(gradients[i]);
    for (std::size_t j = 0; j < values.size(); ++j) {
      EXPECT_EQ(values[j], std::clamp(old_values[j], -0.75F, 0.75F));
      changed += values[j] != old_values[j] ? 1 : 0;
    }
  }
  EXPECT_GT(changed, 10);
}

double norm_of_range(const std::vector<double>& values, std::size_t from, std::size_t count) {
  double sum = 0;
  for (std::size_t i = from; i < from + count; ++i) {
    sum += values[i] * values[i];
  }
  return std::sqrt(sum);
}

/// Brock et al. 2021, eq. 3, element by element.
at::Tensor clipped_by_units(const at::Tensor& parameter, const at::Tensor& gradient, double lambda, double eps) {
  const std::vector<double> w = values_of<double>(parameter.to(at::kDouble));
  std::vector<double> g = values_of<double>(gradient.to(at::kDouble));
  const std::size_t units = gradient.dim() > 1 ? static_cast<std::size_t>(gradient.size(0)) : 1;
  const std::size_t length = units > 0 ? g.size() / units : 0;
  for (std::size_t unit = 0; unit < units; ++unit) {
    const double allowed = lambda * std::max(norm_of_range(w, unit * length, length), eps);
    const double norm = norm_of_range(g, unit * length, length);
    for (std::size_t i = unit * length; i < (unit + 1) * length; ++i) {
      g[i] *= norm > allowed ? allowed / norm : 1.0;
    }
  }
  return tensor_of(g, gradient.sizes());
}

struct AgcCase {
  double lambda;
  double eps;
  double gradient_scale;
};

TEST(ClipAdaptively, EqualsTheSumOverUnitsByHand) {
  for (const AgcCase& c : {AgcCase{0.01, 1e-3, 1}, AgcCase{0.5, 1e-3, 0.5}, AgcCase{0.1, 10, 1}, AgcCase{1, 1e-3, 0}}) {
    const std::vector<at::Tensor> parameters = mixed_tensors(11, at::kFloat);
    parameters[3].select(0, 1).zero_();  // a unit of zeros: eps counts
    std::vector<at::Tensor> gradients = mixed_tensors(13, at::kFloat, c.gradient_scale);
    const std::vector<at::Tensor> before = copies_of(gradients);
    clip_adaptively(parameters, gradients, c.lambda, c.eps);
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      SCOPED_TRACE("tensor " + std::to_string(i));
      expect_close(gradients[i], clipped_by_units(parameters[i], before[i], c.lambda, c.eps), 1e-6);
    }
  }
}

TEST(ClipAdaptively, WantsAGradientForEachParameter) {
  const std::vector<at::Tensor> parameters = {random_tensor({2}, 1), random_tensor({2}, 2)};
  EXPECT_ERROR_WITH("there are 1 gradients for 2 parameters",
                    clip_adaptively(parameters, {random_tensor({2}, 3)}, 0.01, 1e-3));
}

/// The gradients as a step of plain gradient descent shows them: (before - after) / lr.
TEST(Step, ClipsByTheMethodAsked) {
  const Batch batch = toy_batch(16, 100, at::kDouble);
  const std::vector<at::Tensor> gradients = gradients_of(toy_model(1, at::kDouble), batch);
  const std::vector<at::Tensor> weights = copies_of(toy_model(1, at::kDouble).parameters.tensors);
  OptimizerOptions sgd;
  sgd.name = "sgd";
  sgd.lr = 1;
  sgd.weight_decay = 0;
  for (const std::string_view method : {"value", "agc"}) {
    AutogradOptimizerOptions options;
    options.clip.method = method;
    options.clip.max_value = 0.05;
    const Model model = toy_model(1, at::kDouble);
    AutogradOptimizer optimizer(model, sgd, options);
    const StepInfo info = optimizer.step(squared_error, batch.input, batch.target);
    std::vector<at::Tensor> expected;
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      expected.push_back(method == "value" ? gradients[i].clamp(-0.05, 0.05)
                                           : clipped_by_units(weights[i], gradients[i], 0.01, 1e-3));
      expect_close(weights[i].sub(model.parameters.tensors[i]), expected[i], 1e-12);
    }
    EXPECT_TRUE(info.clipped);
    EXPECT_NEAR(info.grad_norm, norm_of(gradients), 1e-9);
    EXPECT_NEAR(info.grad_norm_clipped, norm_of(expected), 1e-9);
  }
}

}  // namespace
}  // namespace gradwise
