// Kronecker factors against loops over samples, dense Fisher matrices and dense linear algebra.
#include <ATen/ops/block_diag.h>
#include <ATen/ops/conv1d.h>
#include <ATen/ops/diag.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/kron.h>
#include <ATen/ops/linalg_eigvalsh.h>
#include <ATen/ops/linalg_inv.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "gradwise/core/random_state.h"
#include "gradwise/curvature/empirical_fisher.h"
#include "gradwise/curvature/fisher.h"
#include "gradwise/curvature/kronecker_factors.h"
#include "gradwise/curvature/likelihood.h"
#include "tests/curvature/kronecker_cases.h"
#include "tests/curvature/small_net.h"

namespace gradwise {
namespace {

// The blocks of the small net, sample by sample; `inner` (3, 3): the matrix of a sample's outputs, weighted.
at::Tensor looped(const SmallNet& net, const std::function<at::Tensor(const at::Tensor& output, std::int64_t)>& inner) {
  const at::Tensor first = net.first.detach();
  const at::Tensor second = net.second.detach();
  at::Tensor A0 = at::zeros({4, 4}, at::kDouble);
  at::Tensor G0 = at::zeros({4, 4}, at::kDouble);
  at::Tensor A1 = at::zeros({4, 4}, at::kDouble);
  at::Tensor G1 = at::zeros({3, 3}, at::kDouble);
  for (std::int64_t n = 0; n < 11; ++n) {
    const at::Tensor h = first.mv(net.x[n]).add(net.bias.detach()).tanh();
    const at::Tensor H = inner(second.mv(h), n);
    const at::Tensor J = second.mul(h.square().neg().add(1));
    const at::Tensor a = at::cat({net.x[n], at::ones({1}, at::kDouble)});
    A0.add_(at::outer(a, a).div(11));
    G0.add_(J.t().matmul(H).matmul(J));
    A1.add_(at::outer(h, h).div(11));
    G1.add_(H);
  }
  return at::block_diag({block_of(A0, G0, true), block_of(A1, G1, false)});
}

class Kfac : public testing::Test {
 protected:
  void SetUp() override { seed_everything(31); }
};

TEST_F(Kfac, EqualsALoopOverTheSamplesHoweverTheDataIsCut) {
  const SmallNet net;
  const auto same = [&net](const std::string& loss, const std::string& reduction, const auto& inner) {
    const at::Tensor expected = looped(net, inner);
    for (const std::vector<std::int64_t>& sizes : {std::vector<std::int64_t>{11}, {4, 4, 3}, {1, 9, 1}}) {
      const KroneckerFactors found(net.model(), loss, net.cut(net.y, sizes), {}, {.reduction = reduction});
      EXPECT_TRUE(matrix_of(found).allclose(expected, 1e-10, 1e-12)) << loss << " " << reduction << sizes.size();
      EXPECT_EQ(found.samples(), 11);
    }
  };
  const auto categorical = [](double weight) {
    return [weight](const at::Tensor& output, std::int64_t /*n*/) {
      const at::Tensor p = at::softmax(output, 0);
      return at::diag(p).sub(at::outer(p, p)).mul(weight);
    };
  };
  same("cross_entropy", "mean", categorical(1.0 / 11));
  same("cross_entropy", "sum", categorical(1));
  same("mse", "mean", [](const at::Tensor&, std::int64_t) { return at::eye(3, at::kDouble).mul(2.0 / 33); });
  same("binary_cross_entropy", "mean", [](const at::Tensor& output, std::int64_t) {
    const at::Tensor p = at::sigmoid(output);
    return at::diag(p.sub(p.square())).div(33);
  });
}

TEST_F(Kfac, OfALossFunctionTakesTheDatasOwnTargets) {
  const SmallNet net;
  const at::Tensor expected = looped(net, [&net](const at::Tensor& output, std::int64_t n) {
    const at::Tensor score = at::softmax(output, 0).sub(at::eye(3, at::kDouble)[net.classes[n].item<std::int64_t>()]);
    return at::outer(score, score).div(11);
  });
  for (const std::vector<std::int64_t>& sizes : {std::vector<std::int64_t>{11}, {4, 4, 3}}) {
    const KroneckerFactors found(net.model(), kClassLoss, net.cut(net.classes, sizes));
    EXPECT_TRUE(matrix_of(found).allclose(expected, 1e-10, 1e-12));
  }
}

TEST_F(Kfac, IsExactForOneSample) {
  const SmallNet net;
  const std::vector<Batch> one = {{net.x.narrow(0, 0, 1), net.classes.narrow(0, 0, 1), {}}};
  for (const bool corrected : {false, true}) {
    const KroneckerOptions options{.corrected = corrected};
    for (const char* loss : {"cross_entropy", "binary_cross_entropy", "mse"}) {
      const at::Tensor found = matrix_of(KroneckerFactors(net.model(), loss, one, {}, options));
      EXPECT_TRUE(found.allclose(dense_by_layer(Fisher(net.model(), loss, one)), 1e-10, 1e-12)) << loss;
      const FisherOptions drawn{.type = "monte_carlo", .draws = 3, .seed = 5};
      const at::Tensor by_draws = matrix_of(KroneckerFactors(net.model(), loss, one, drawn, options));
      EXPECT_TRUE(by_draws.allclose(dense_by_layer(Fisher(net.model(), loss, one, drawn)), 1e-10, 1e-12)) << loss;
    }
    const at::Tensor empirical = matrix_of(KroneckerFactors(net.model(), kClassLoss, one, options));
    EXPECT_TRUE(empirical.allclose(dense_by_layer(EmpiricalFisher(net.model(), kClassLoss, one)), 1e-10, 1e-12));
  }
}

TEST_F(Kfac, IsExactForADeepLinearNetworkUnderMse) {
  const SmallNet net;
  const Model linear = model_of({{"0.weight", weight_of({5, 3})},
                                 {"0.bias", weight_of({5})},
                                 {"1.weight", weight_of({4, 5})},
                                 {"2.weight", weight_of({3, 4})},
                                 {"2.bias", weight_of({3})}},
                                [](const std::vector<at::Tensor>& w, const at::Tensor& x) {
                                  return at::linear(at::linear(at::linear(x, w[0], w[1]), w[2]), w[3], w[4]);
                                });
  const auto batches = net.cut(net.y, {6, 5});
  for (const bool corrected : {false, true}) {
    const KroneckerFactors found(linear, "mse", batches, {}, {.corrected = corrected});
    EXPECT_TRUE(matrix_of(found).allclose(dense_by_layer(Fisher(linear, "mse", batches)), 1e-9, 1e-11)) << corrected;
  }
}

TEST_F(Kfac, ReduceIsExactForDeepLinearNetworksThatPool) {
  const Model sequence = model_of({{"0.weight", weight_of({5, 3})},
                                   {"0.bias", weight_of({5})},
                                   {"1.weight", weight_of({4, 5})},
                                   {"2.weight", weight_of({3, 4})},
                                   {"2.bias", weight_of({3})}},
                                  [](const std::vector<at::Tensor>& w, const at::Tensor& x) {
                                    const at::Tensor h = at::linear(at::linear(x, w[0], w[1]), w[2]);
                                    return at::linear(h.mean(1), w[3], w[4]);
                                  });
  const Model convolution =
      model_of({{"0.weight", weight_of({2, 6, 2})}, {"0.bias", weight_of({2})}, {"1.weight", weight_of({3, 2})}},
               [](const std::vector<at::Tensor>& w, const at::Tensor& x) {
                 return at::conv1d(x, w[0], w[1]).sum(2).matmul(w[2].t());
               });
  const at::Tensor x = at::randn({7, 6, 3}, at::kDouble);
  const std::vector<Batch> batches = {{x.narrow(0, 0, 4), {}, {}}, {x.narrow(0, 4, 3), {}, {}}};
  for (const Model& model : {sequence, convolution}) {
    const at::Tensor exact = dense_by_layer(Fisher(model, "mse", batches));
    for (const bool corrected : {false, true}) {
      const KroneckerOptions reduce{.corrected = corrected, .weight_sharing = "reduce"};
      EXPECT_TRUE(matrix_of(KroneckerFactors(model, "mse", batches, {}, reduce)).allclose(exact, 1e-9, 1e-11));
    }
    EXPECT_FALSE(matrix_of(KroneckerFactors(model, "mse", batches)).allclose(exact, 1e-2, 1e-3));
  }
}

TEST_F(Kfac, FiguresAreThoseOfTheDenseMatrix) {
  const SmallNet net;
  for (const bool corrected : {false, true}) {
    const KroneckerFactors kfac(net.model(), "cross_entropy", net.cut(net.classes, {6, 5}), {},
                                {.corrected = corrected});
    const at::Tensor dense = matrix_of(kfac);
    const at::Tensor damped = dense.add(at::eye(28, at::kDouble), 0.1);
    EXPECT_TRUE(matrix_of(kfac.inverse(0.1)).allclose(at::linalg_inv(damped), 1e-9, 1e-10));
    EXPECT_TRUE(kfac.eigenvalues().allclose(at::linalg_eigvalsh(dense).flip(0), 1e-9, 1e-12));
    EXPECT_NEAR(kfac.trace(), dense.trace().item<double>(), 1e-12);
    EXPECT_NEAR(kfac.frobenius_norm(), dense.norm().item<double>(), 1e-12);
    EXPECT_NEAR(kfac.log_determinant(0.1), at::linalg_eigvalsh(damped).log().sum().item<double>(), 1e-9);
  }
}

TEST_F(Kfac, FactoredInverseIsThatOfTheDampedFactors) {
  const SmallNet net;
  const KroneckerFactors kfac(net.model(), "cross_entropy", net.cut(net.classes, {6, 5}));
  std::vector<at::Tensor> expected;
  for (const KroneckerBlock& block : kfac.blocks()) {
    const at::Tensor A = block.input_factor[0];
    const at::Tensor G = block.gradient_factor[0];
    const double in = A.trace().item<double>() / static_cast<double>(A.size(0));
    const double out = G.trace().item<double>() / static_cast<double>(G.size(0));
    const double pi = std::sqrt(in / out);
    const at::Tensor of_inputs = A.add(at::eye(A.size(0), at::kDouble), pi * std::sqrt(0.04));
    const at::Tensor of_gradients = G.add(at::eye(G.size(0), at::kDouble), std::sqrt(0.04) / pi);
    expected.push_back(block_of(at::linalg_inv(of_inputs), at::linalg_inv(of_gradients), block.bias.has_value()));
  }
  EXPECT_TRUE(matrix_of(kfac.factored_inverse(0.04)).allclose(at::block_diag(expected), 1e-9, 1e-10));
}

void expect_corrected(const KroneckerFactors& kfac, const KroneckerFactors& ekfac, const at::Tensor& exact) {
  EXPECT_LT(exact.sub(matrix_of(ekfac)).norm().item<double>(), exact.sub(matrix_of(kfac)).norm().item<double>());
  EXPECT_NEAR(ekfac.trace(), exact.trace().item<double>(), 1e-12);
  const KroneckerBlock& head = ekfac.blocks().at(1);
  const at::Tensor basis = at::kron(head.gradient_basis[0], head.input_basis[0]);
  const at::Tensor block = exact.narrow(0, 16, 12).narrow(1, 16, 12);
  EXPECT_TRUE(head.eigenvalues.flatten().allclose(basis.t().matmul(block).matmul(basis).diagonal(), 1e-9, 1e-12));
}

TEST_F(Kfac, CorrectionTakesTheExactDiagonalInTheEigenbasis) {
  const SmallNet net;
  const Model model = net.model();
  const auto batches = net.cut(net.classes, {4, 4, 3});
  const KroneckerOptions corrected{.corrected = true};
  for (const FisherOptions& kind : {FisherOptions{}, FisherOptions{.type = "monte_carlo", .draws = 2, .seed = 9}}) {
    expect_corrected(KroneckerFactors(model, "cross_entropy", batches, kind),
                     KroneckerFactors(model, "cross_entropy", batches, kind, corrected),
                     dense_by_layer(Fisher(model, "cross_entropy", batches, kind)));
  }
  expect_corrected(KroneckerFactors(model, kClassLoss, batches),
                   KroneckerFactors(model, kClassLoss, batches, corrected),
                   dense_by_layer(EmpiricalFisher(model, kClassLoss, batches)));
}

TEST_F(Kfac, DoesNotDependOnHowTheDataIsCut) {
  const SmallNet net;
  for (const bool corrected : {false, true}) {
    const auto matrix = [&net, corrected](const std::vector<std::int64_t>& sizes) {
      return matrix_of(KroneckerFactors(net.model(), "cross_entropy", net.cut(net.classes, sizes),
                                        {.type = "monte_carlo", .draws = 2, .seed = 1}, {.corrected = corrected}));
    };
    const at::Tensor whole = matrix({11});
    EXPECT_TRUE(whole.allclose(matrix({4, 4, 3}), 1e-9, 1e-12));
    EXPECT_TRUE(whole.allclose(matrix(std::vector<std::int64_t>(11, 1)), 1e-9, 1e-12));
  }
}

TEST_F(Kfac, InFloat32AgreesWithFloat64) {
  const SmallNet net;
  const auto as = [&net](at::ScalarType type) {
    const Model model = model_of(
        {{"weight", net.first.detach().to(type).requires_grad_()},
         {"bias", net.bias.detach().to(type).requires_grad_()}},
        [](const std::vector<at::Tensor>& w, const at::Tensor& x) { return at::linear(x, w[0], w[1]).tanh(); });
    const std::vector<Batch> batches = {{net.x.to(type), net.y.to(type), {}}};
    return matrix_of(KroneckerFactors(model, "mse", batches, {}, {.corrected = true}));
  };
  const at::Tensor narrow = as(at::kFloat);
  EXPECT_EQ(narrow.scalar_type(), at::kFloat);
  EXPECT_TRUE(narrow.to(at::kDouble).allclose(as(at::kDouble), 1e-4, 1e-5));
}

TEST_F(Kfac, RootColumnsGiveTheFisherMatrixOfTheOutputs) {
  const at::Tensor output = at::randn({2, 3, 2}, at::kDouble);
  for (const char* loss : {"cross_entropy", "binary_cross_entropy", "mse"}) {
    const Likelihood likelihood = Likelihood::of_loss(loss);
    const at::Tensor vector = at::randn({2, 3, 2}, at::kDouble);
    at::Tensor sum = at::zeros({2, 6}, at::kDouble);
    for (std::int64_t c = 0; c < 6; ++c) {
      const at::Tensor column = likelihood.root_column(output, c).view({2, 6});
      sum.add_(column.mul(column.mul(vector.view({2, 6})).sum(1, /*keepdim=*/true)));
    }
    EXPECT_TRUE(sum.view({2, 3, 2}).allclose(likelihood.fisher_times(output, vector), 1e-12, 1e-14)) << loss;
  }
}

}  // namespace
}  // namespace gradwise
