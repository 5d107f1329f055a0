// Matrices over data sets: however the samples are cut, whatever is kept, and what is refused.
#include "gradwise/curvature/data_operator.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/binary_cross_entropy_with_logits.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <memory>
#include <utility>

#include "gradwise/autograd/functions/gradients.h"
#include "gradwise/autograd/transforms/jacobian.h"
#include "gradwise/core/random_state.h"
#include "gradwise/curvature/empirical_fisher.h"
#include "gradwise/curvature/fisher.h"
#include "gradwise/curvature/gauss_newton.h"
#include "gradwise/curvature/gradient_covariance.h"
#include "gradwise/curvature/hessian.h"
#include "gradwise/curvature/spectral_density.h"
#include "gradwise/curvature/trace.h"
#include "tests/curvature/small_net.h"
#include "tests/data/error_of.h"

namespace gradwise {
namespace {

using Make = std::function<std::unique_ptr<DataOperator>(const SmallNet&, const std::vector<std::int64_t>& sizes,
                                                         CurvatureOptions options)>;

template <class Operator>
Make of_loss() {
  return [](const SmallNet& net, const std::vector<std::int64_t>& sizes, CurvatureOptions options) {
    return std::make_unique<Operator>(net.model(), kClassLoss, net.cut(net.classes, sizes), std::move(options));
  };
}

Make drawn(const std::string& loss) {
  return [loss](const SmallNet& net, const std::vector<std::int64_t>& sizes, CurvatureOptions options) {
    return std::make_unique<Fisher>(net.model(), loss, net.cut(net.y, sizes),
                                    FisherOptions{.type = "monte_carlo", .draws = 2}, std::move(options));
  };
}

struct Kind {
  const char* name;
  Make make;
};

class EveryOperator : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override { seed_everything(11); }
};

TEST_P(EveryOperator, IsTheSameHoweverTheDataIsCut) {
  const SmallNet net;
  const at::Tensor whole = matrix_of(*GetParam().make(net, {11}, {}));
  EXPECT_GT(whole.abs().max().item<double>(), 1e-3);
  for (const std::vector<std::int64_t>& sizes :
       std::vector<std::vector<std::int64_t>>{{4, 4, 3}, {1, 10}, {10, 1}, std::vector<std::int64_t>(11, 1)}) {
    const auto cut = GetParam().make(net, sizes, {});
    EXPECT_EQ(cut->samples(), 11);
    EXPECT_LE(matrix_of(*cut).sub(whole).abs().max().item<double>(), 1e-12) << sizes.size() << " batches";
  }
}

TEST_P(EveryOperator, IsTheSameWhateverIsKept) {
  const SmallNet net;
  const auto kept = GetParam().make(net, {4, 4, 3}, {.memory_bound = 0});
  const auto rebuilt = GetParam().make(net, {4, 4, 3}, {.memory_bound = 1});
  EXPECT_EQ(kept->kept_batches(), 3);
  EXPECT_EQ(rebuilt->kept_batches(), 0);
  EXPECT_TRUE(matrix_of(*kept).equal(matrix_of(*rebuilt)));
}

TEST_P(EveryOperator, OfChosenParametersIsAPartOfTheWhole) {
  const SmallNet net;
  const at::Tensor whole = matrix_of(*GetParam().make(net, {6, 5}, {}));
  const auto hidden = GetParam().make(net, {6, 5}, {.parameters = {"hidden.*"}});
  EXPECT_EQ(hidden->parameters().names, (std::vector<std::string>{"hidden.weight", "hidden.bias"}));
  const at::Tensor part = whole.narrow(0, 0, 16).narrow(1, 0, 16);
  EXPECT_LE(matrix_of(*hidden).sub(part).abs().max().item<double>(), 1e-12);
}

TEST_P(EveryOperator, IsSymmetricAndItsColumnsAreItsProducts) {
  const SmallNet net;
  const auto matrix = GetParam().make(net, {6, 5}, {});
  const at::Tensor full = matrix_of(*matrix);
  EXPECT_LE(full.sub(full.t()).abs().max().item<double>(), 1e-12);
  const at::Tensor v = at::randn({28}, at::kDouble);
  EXPECT_TRUE(matrix->apply(v).allclose(full.mv(v), 1e-10, 1e-12));
  EXPECT_EQ(matrix->apply_columns(at::zeros({28, 0}, at::kDouble)).sizes(), (at::IntArrayRef{28, 0}));
}

INSTANTIATE_TEST_SUITE_P(Curvature, EveryOperator,
                         testing::Values(Kind{"hessian", of_loss<Hessian>()},
                                         Kind{"gauss_newton", of_loss<GaussNewton>()},
                                         Kind{"empirical_fisher", of_loss<EmpiricalFisher>()},
                                         Kind{"gradient_covariance", of_loss<GradientCovariance>()},
                                         Kind{"drawn_categorical", drawn("cross_entropy")},
                                         Kind{"drawn_bernoulli", drawn("binary_cross_entropy")},
                                         Kind{"drawn_normal", drawn("mse")}),
                         [](const auto& found) { return std::string(found.param.name); });

class DataOperators : public testing::Test {
 protected:
  void SetUp() override { seed_everything(12); }
};

TEST_F(DataOperators, HessianIsThatOfTheMeanLossOverAllSamples) {
  const SmallNet net;
  const TensorFunction loss = [&net](const Tensors& w) {
    return Tensors{at::cross_entropy_loss(SmallNet::outputs(w, net.x), net.classes)};
  };
  const Tensors weights{net.first.detach(), net.bias.detach(), net.second.detach()};
  const Tensors blocks = hessian(loss, {.argnums = {0, 1, 2}})(weights);
  std::vector<at::Tensor> rows;
  for (std::size_t i = 0; i < 3; ++i) {
    std::vector<at::Tensor> row;
    for (std::size_t j = 0; j < 3; ++j) {
      row.push_back(blocks[i * 3 + j].reshape({weights[i].numel(), weights[j].numel()}));
    }
    rows.push_back(at::cat(row, 1));
  }
  const at::Tensor expected = at::cat(rows);
  const Hessian matrix(net.model(), kClassLoss, net.cut(net.classes, {4, 4, 3}));
  EXPECT_LE(matrix_of(matrix).sub(expected).abs().max().item<double>(), 1e-10);
  const Tensors gradient = grad(loss, {.argnums = {0, 1, 2}})(weights);
  EXPECT_TRUE(matrix.gradient().allclose(flattened(gradient), 1e-10, 1e-12));
}

TEST_F(DataOperators, LossesThatAreSumsMakeMatricesThatAreSums) {
  const SmallNet net;
  const LossFunction sum = [](const at::Tensor& o, const at::Tensor& t) {
    return at::cross_entropy_loss(o, t, {}, /*reduction=*/2);
  };
  const auto batches = net.cut(net.classes, {4, 4, 3});
  const auto same = [&](const LinearOperator& summed, const LinearOperator& mean) {
    return matrix_of(summed).allclose(matrix_of(mean).mul(11), 1e-10, 1e-12);
  };
  const CurvatureOptions options{.reduction = "sum"};
  EXPECT_TRUE(same(Hessian(net.model(), sum, batches, options), Hessian(net.model(), kClassLoss, batches)));
  EXPECT_TRUE(same(GaussNewton(net.model(), sum, batches, options), GaussNewton(net.model(), kClassLoss, batches)));
  EXPECT_TRUE(
      same(EmpiricalFisher(net.model(), sum, batches, options), EmpiricalFisher(net.model(), kClassLoss, batches)));
  EXPECT_TRUE(same(GradientCovariance(net.model(), sum, batches, options),
                   GradientCovariance(net.model(), kClassLoss, batches)));
  EXPECT_TRUE(
      same(Fisher(net.model(), "cross_entropy", batches, {}, options), Fisher(net.model(), "cross_entropy", batches)));
}

// Of a linear model: Xᵀ X 2 / N for the squared error, Xᵀ diag(p (1 - p)) X / N for logistic regression.
TEST_F(DataOperators, RegressionsHaveClosedForms) {
  const at::Tensor x = at::randn({9, 4}, at::kDouble);
  const at::Tensor w = at::randn({4}, at::kDouble).requires_grad_();
  Model model;
  model.parameters.add("w", w);
  model.forward = [w](const Batch& batch) { return batch.input.matmul(w); };
  const at::Tensor y = at::randint(2, {9}, at::kDouble);
  const std::vector<Batch> batches{{x.narrow(0, 0, 6), y.narrow(0, 0, 6), {}},
                                   {x.narrow(0, 6, 3), y.narrow(0, 6, 3), {}}};
  const at::Tensor linear = x.t().matmul(x).mul(2.0 / 9);
  EXPECT_TRUE(matrix_of(Hessian(model, kSquaredLoss, batches)).allclose(linear, 1e-10, 1e-12));
  EXPECT_TRUE(matrix_of(GaussNewton(model, kSquaredLoss, batches)).allclose(linear, 1e-10, 1e-12));
  EXPECT_TRUE(matrix_of(Fisher(model, "mse", batches)).allclose(linear, 1e-10, 1e-12));
  const LossFunction logistic = [](const at::Tensor& o, const at::Tensor& t) {
    return at::binary_cross_entropy_with_logits(o, t);
  };
  const at::Tensor p = at::sigmoid(x.matmul(w.detach()));
  const at::Tensor expected = x.t().mul(p.sub(p.square())).matmul(x).div(9);
  EXPECT_TRUE(matrix_of(Hessian(model, logistic, batches)).allclose(expected, 1e-10, 1e-12));
  EXPECT_TRUE(matrix_of(GaussNewton(model, logistic, batches)).allclose(expected, 1e-10, 1e-12));
  EXPECT_TRUE(matrix_of(Fisher(model, "binary_cross_entropy", batches)).allclose(expected, 1e-10, 1e-12));
}

TEST_F(DataOperators, ColumnsGoThroughOneVisitAndProgressIsTold) {
  const SmallNet net;
  std::int64_t passes = 0;
  const Model model = net.model_that_counts(passes);
  std::vector<std::pair<std::int64_t, std::int64_t>> told;
  const GaussNewton matrix(model, kClassLoss, net.cut(net.classes, {4, 4, 3}),
                           {.memory_bound = 1,
                            .check_deterministic = false,
                            .progress = [&told](auto done, auto total) { told.emplace_back(done, total); }});
  EXPECT_EQ(passes, 3);
  told.clear();
  (void)matrix_of(matrix);  // 28 columns
  EXPECT_EQ(passes, 6);
  EXPECT_EQ(told, (std::vector<std::pair<std::int64_t, std::int64_t>>{{1, 3}, {2, 3}, {3, 3}}));
}

// 20 products of what is recorded anew go over the mini-batches once, not twenty times.
TEST_F(DataOperators, EstimatorsMakeTheirProductsTogether) {
  const SmallNet net;
  std::int64_t passes = 0;
  const Model model = net.model_that_counts(passes);
  const Hessian matrix(model, kClassLoss, net.cut(net.classes, {4, 4, 3}),
                       {.memory_bound = 1, .check_deterministic = false});
  const auto passes_of = [&passes](const auto& estimate) {
    passes = 0;
    EXPECT_EQ(estimate().products, 20);
    return passes;
  };
  EXPECT_EQ(passes_of([&] { return hutchinson_trace(matrix, {.products = 20}); }), 3);
  EXPECT_EQ(passes_of([&] { return hutchinson_diagonal(matrix, {.products = 20}); }), 3);
  EXPECT_EQ(passes_of([&] { return frobenius_norm(matrix, {.products = 20}); }), 3);
  // Of the steps of Lanczos one waits for the other.
  EXPECT_EQ(passes_of([&] { return log_determinant(matrix, 100, {.steps = 5, .vectors = 4}); }), 15);
  EXPECT_EQ(passes_of([&] { return sampled_density(matrix, {.steps = 5, .vectors = 4}); }), 15);
}

TEST_F(DataOperators, RecordsInTheModeThatItWasMadeIn) {
  const SmallNet net;
  bool training = false;
  Model model = net.model();
  model.is_training = [&training] { return training; };
  const auto batches = net.cut(net.classes, {6, 5});
  const Hessian kept(model, kClassLoss, batches);
  const Hessian rebuilt(model, kClassLoss, batches, {.memory_bound = 1});
  const at::Tensor v = at::ones({28}, at::kDouble);
  const at::Tensor expected = rebuilt.apply(v);
  training = true;
  EXPECT_TRUE(kept.apply(v).equal(expected));
  EXPECT_ERROR_WITH("[hessian] the model was in evaluation mode when the operator was made, and is not now",
                    rebuilt.apply(v));
}

TEST_F(DataOperators, SaysWhatItCannotTake) {
  const SmallNet net;
  const auto batches = net.cut(net.classes, {6, 5});
  const Model model = net.model();
  EXPECT_ERROR_WITH("[hessian] the data set has no mini-batch", Hessian(model, kClassLoss, std::vector<Batch>{}));
  EXPECT_ERROR_WITH("[hessian] mini-batch 1 of 2 is empty", Hessian(model, kClassLoss, net.cut(net.classes, {6, 0})));
  EXPECT_ERROR_WITH("[hessian] parameters: no parameter's name matches \"haed.*\"",
                    Hessian(model, kClassLoss, batches, {.parameters = {"haed.*"}}));
  EXPECT_ERROR_WITH("[hessian] reduction is \"median\"", Hessian(model, kClassLoss, batches, {.reduction = "median"}));
  EXPECT_ERROR_WITH("[hessian] memory_bound is -1", Hessian(model, kClassLoss, batches, {.memory_bound = -1}));
  Model mixed = model;
  mixed.parameters.add("scale", at::ones({1}, at::kFloat).requires_grad_());
  EXPECT_ERROR_WITH("allowed: one type and device", Hessian(mixed, kClassLoss, batches));
  const Hessian matrix(model, kClassLoss, batches);
  EXPECT_ERROR_WITH("[hessian] the vector is Float on cpu, allowed: Double on cpu", matrix.apply(at::zeros({28})));
  EXPECT_ERROR_WITH("[hessian] the columns have the shape [3, 2], allowed: [28, any]",
                    matrix.apply_columns(at::zeros({3, 2}, at::kDouble)));
  EXPECT_ERROR_WITH("[hessian] the vector has values that are not finite",
                    matrix.apply(at::full({28}, NAN, at::kDouble)));
  {
    const at::NoGradGuard no_grad;
    at::Tensor written = net.bias;
    written.add_(1);
  }
  EXPECT_ERROR_WITH("[hessian] the parameter hidden.bias was written to since the operator was made",
                    matrix.apply(at::zeros({28}, at::kDouble)));
  const LossFunction broken = [](const at::Tensor& o, const at::Tensor&) { return o.sum().mul(o.sum()).mul(NAN); };
  const GaussNewton not_finite(model, broken, batches);
  EXPECT_ERROR_WITH("[gauss_newton] a product with the matrix is not finite",
                    not_finite.apply(at::ones({28}, at::kDouble)));
}

}  // namespace
}  // namespace gradwise
