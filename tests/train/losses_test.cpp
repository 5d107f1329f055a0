#include "gradwise/train/losses.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/data/error_of.h"
#include "tests/data/tensor_of.h"
#include "tests/optim/toy_model.h"

namespace gradwise {
namespace {

double log_sum_exp(const std::vector<double>& row) {
  double sum = 0;
  for (const double score : row) {
    sum += std::exp(score);
  }
  return std::log(sum);
}

// -(1 - s) log p[target] - s/C Σ log p
double smoothed(const std::vector<double>& row, std::size_t target, double s) {
  double sum = 0;
  for (std::size_t c = 0; c < row.size(); ++c) {
    const double share = s / static_cast<double>(row.size()) + (c == target ? 1 - s : 0);
    sum += share * (log_sum_exp(row) - row[c]);
  }
  return sum;
}

TEST(CrossEntropy, EqualsItsFormula) {
  const at::Tensor scores = tensor_of<double>({1, 2, 0, /**/ 0.5, -1, 3}, {2, 3});
  const at::Tensor classes = tensor_of<std::int64_t>({1, 0}, {2});
  for (const double s : {0.0, 0.1, 1.0}) {
    const double expected = (smoothed({1, 2, 0}, 1, s) + smoothed({0.5, -1, 3}, 0, s)) / 2;
    EXPECT_NEAR(make_loss("cross_entropy", s)(scores, classes).item<double>(), expected, 1e-12) << "smoothing " << s;
  }
}

TEST(CrossEntropy, TakesPositionsAndNarrowClasses) {
  // (B, C, T) = (1, 2, 3) with (1, 3) equals three samples.
  const at::Tensor rows = random_tensor({3, 2}, 1);
  const at::Tensor classes = tensor_of<std::uint8_t>({1, 0, 1}, {3});
  const LossFunction loss = make_loss("cross_entropy");
  const double expected = loss(rows, classes).item<double>();
  EXPECT_NEAR(loss(rows.t().unsqueeze(0), classes.reshape({1, 3})).item<double>(), expected, 1e-6);
}

struct ElementCase {
  const char* name;
  double (*of_residual)(double residual);
};

TEST(ElementLosses, AreMeansOverTheElements) {
  const ElementCase cases[] = {{"mse", [](double r) { return r * r; }},
                               {"mae", [](double r) { return std::abs(r); }},
                               {"huber", [](double r) { return std::abs(r) <= 1 ? r * r / 2 : std::abs(r) - 0.5; }}};
  const std::vector<double> residuals = {0.25, -0.5, 2, -3};
  for (const ElementCase& c : cases) {
    double sum = 0;
    for (const double residual : residuals) {
      sum += c.of_residual(residual);
    }
    const at::Tensor output = tensor_of<double>({1.25, 0.5, 5, -4}, {4, 1});
    const at::Tensor target = tensor_of<double>({1, 1, 3, -1}, {4, 1});
    EXPECT_NEAR(make_loss(c.name)(output, target).item<double>(), sum / 4, 1e-12) << c.name;
    EXPECT_NEAR(make_loss(c.name)(output, target.reshape({4})).item<double>(), sum / 4, 1e-12)
        << c.name << " of (B, 1) and (B) must not broadcast to (B, B)";
  }
}

TEST(BinaryCrossEntropy, TakesLogits) {
  const std::vector<double> logits = {2, -1, 0};
  const std::vector<double> targets = {1, 0, 0.25};
  double sum = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const double p = 1 / (1 + std::exp(-logits[i]));
    sum -= targets[i] * std::log(p) + (1 - targets[i]) * std::log(1 - p);
  }
  const at::Tensor loss = make_loss("binary_cross_entropy")(tensor_of(logits, {3}), tensor_of(targets, {3}));
  EXPECT_NEAR(loss.item<double>(), sum / 3, 1e-12);
}

TEST(Losses, HaveAGradient) {
  for (const std::string& name : loss_names()) {
    const at::Tensor output = random_tensor({4, 3}, 1).requires_grad_();
    const bool classes = name == "cross_entropy";
    const at::Tensor target = classes ? tensor_of<std::int64_t>({0, 1, 2, 0}, {4}) : random_tensor({4, 3}, 2).abs();
    make_loss(name)(output, target).backward();
    EXPECT_GT(output.grad().abs().sum().item<double>(), 0) << name;
  }
}

TEST(Losses, SayWhatIsWrong) {
  EXPECT_ERROR_WITH(
      "unknown loss \"cross_entropi\", allowed: cross_entropy, mse, mae, huber, binary_cross_entropy; "
      "did you mean \"cross_entropy\"?",
      make_loss("cross_entropi"));
  EXPECT_ERROR_WITH("label_smoothing is 1.5, allowed: from 0 to 1", make_loss("cross_entropy", 1.5));
  EXPECT_ERROR_WITH("output has shape [4, 3], the target [4, 2]",
                    make_loss("mse")(random_tensor({4, 3}, 1), random_tensor({4, 2}, 1)));
  EXPECT_ERROR_WITH("output has shape [4, 3], the target [4]",
                    make_loss("mse")(random_tensor({4, 3}, 1), random_tensor({4}, 1)));
}

}  // namespace
}  // namespace gradwise
