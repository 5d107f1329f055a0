// Which layers Kronecker factors find in a graph, convolutions against their unfolded inputs, and what is refused.
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/conv1d.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/conv3d.h>
#include <ATen/ops/conv_transpose2d.h>
#include <ATen/ops/im2col.h>
#include <ATen/ops/kron.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <array>
#include <functional>

#include "gradwise/core/random_state.h"
#include "gradwise/curvature/fisher.h"
#include "gradwise/curvature/kronecker_factors.h"
#include "tests/curvature/kronecker_cases.h"
#include "tests/curvature/small_net.h"
#include "tests/data/error_of.h"

namespace gradwise {
namespace {

// A convolution, tanh and a sum with fixed weights: what it takes to write the factors down under mse.
struct ConvolutionCase {
  at::Tensor x, weight, bias, out;
  std::function<at::Tensor(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias)> convolve;
  std::function<at::Tensor(const at::Tensor& x)> columns;  // (n, in, positions), by another way than the library's

  [[nodiscard]] Model model() const {
    return model_of({{"conv.weight", weight}, {"conv.bias", bias}},
                    [*this](const std::vector<at::Tensor>& w, const at::Tensor& input) {
                      return convolve(input, w[0], w[1]).tanh().flatten(1).matmul(out);
                    });
  }
  [[nodiscard]] at::Tensor expected(bool reduce) const {
    const at::Tensor seen = columns(x);
    at::Tensor a = at::cat({seen, at::ones({seen.size(0), 1, seen.size(2)}, at::kDouble)}, 1);
    a = reduce ? a.mean(2, /*keepdim=*/true) : a;
    const at::Tensor z = convolve(x, weight, bias).detach();
    const double outputs = static_cast<double>(x.size(0) * out.size(1));
    at::Tensor A = at::zeros({a.size(1), a.size(1)}, at::kDouble);
    at::Tensor G = at::zeros({z.size(1), z.size(1)}, at::kDouble);
    for (std::int64_t n = 0; n < x.size(0); ++n) {
      A.add_(a[n].matmul(a[n].t()).div(static_cast<double>(x.size(0) * a.size(2))));
      for (const at::Tensor& to_output : out.unbind(1)) {
        at::Tensor b = z[n].tanh().square().neg().add(1).flatten(1).mul(to_output.view({z.size(1), -1}));
        b = reduce ? b.sum(1, /*keepdim=*/true) : b;
        G.add_(b.matmul(b.t()).mul(2 / outputs));
      }
    }
    return block_of(A, G, true);
  }
};

std::vector<ConvolutionCase> convolution_cases() {
  const auto unfolded = [](const at::Tensor& x, at::IntArrayRef kernel) {
    at::Tensor seen = x;
    for (std::size_t i = 0; i < kernel.size(); ++i) {
      seen = seen.unfold(static_cast<std::int64_t>(i) + 2, kernel[i], 1);
    }
    const std::int64_t d = std::ssize(kernel);
    std::vector<std::int64_t> order = {0, 1};  // (n, channels, kernel..., positions...)
    for (std::int64_t i = 0; i < 2 * d; ++i) {
      order.push_back(2 + (i + d) % (2 * d));
    }
    std::int64_t in = x.size(1);
    for (const std::int64_t length : kernel) {
      in *= length;
    }
    return seen.permute(order).reshape({x.size(0), in, -1});
  };
  std::vector<ConvolutionCase> cases;
  cases.push_back({at::randn({3, 2, 7}, at::kDouble), weight_of({4, 2, 3}), weight_of({4}),
                   at::randn({20, 2}, at::kDouble),
                   [](const at::Tensor& x, const at::Tensor& w, const at::Tensor& b) { return at::conv1d(x, w, b); },
                   [unfolded](const at::Tensor& x) { return unfolded(x, {3}); }});
  cases.push_back({at::randn({3, 2, 6, 7}, at::kDouble), weight_of({3, 2, 3, 2}), weight_of({3}),
                   at::randn({3 * 3 * 9, 2}, at::kDouble),
                   [](const at::Tensor& x, const at::Tensor& w, const at::Tensor& b) {
                     return at::conv2d(x, w, b, {2, 1}, {1, 2}, {1, 2});
                   },
                   [](const at::Tensor& x) { return at::im2col(x, {3, 2}, {1, 2}, {1, 2}, {2, 1}); }});
  cases.push_back({at::randn({2, 2, 3, 4, 3}, at::kDouble), weight_of({2, 2, 2, 3, 2}), weight_of({2}),
                   at::randn({2 * 2 * 2 * 2, 2}, at::kDouble),
                   [](const at::Tensor& x, const at::Tensor& w, const at::Tensor& b) { return at::conv3d(x, w, b); },
                   [unfolded](const at::Tensor& x) { return unfolded(x, {2, 3, 2}); }});
  return cases;
}

class KfacLayers : public testing::Test {
 protected:
  void SetUp() override { seed_everything(32); }
};

TEST_F(KfacLayers, OfAConvolutionIsThatOfItsUnfoldedInput) {
  for (const ConvolutionCase& c : convolution_cases()) {
    const std::vector<Batch> batches = {{c.x.narrow(0, 0, 1), {}, {}}, {c.x.narrow(0, 1, c.x.size(0) - 1), {}, {}}};
    const KroneckerFactors kfac(c.model(), "mse", batches);
    EXPECT_TRUE(matrix_of(kfac).allclose(c.expected(false), 1e-10, 1e-12)) << c.x.dim();
    const KroneckerFactors reduced(c.model(), "mse", batches, {}, {.weight_sharing = "reduce"});
    EXPECT_TRUE(matrix_of(reduced).allclose(c.expected(true), 1e-10, 1e-12)) << c.x.dim();

    const KroneckerFactors ekfac(c.model(), "mse", batches, {}, {.corrected = true});
    const at::Tensor exact = matrix_of(Fisher(c.model(), "mse", batches));
    const KroneckerBlock& block = ekfac.blocks().at(0);
    const at::Tensor eigenvectors =
        at::kron(block.gradient_basis[0], block.input_basis[0])
            .index_select(0, rows_of_parameters(block.gradient_basis.size(1), block.input_basis.size(1)));
    const at::Tensor diagonal = eigenvectors.t().matmul(exact).matmul(eigenvectors).diagonal();
    EXPECT_TRUE(block.eigenvalues.flatten().allclose(diagonal, 1e-9, 1e-11)) << c.x.dim();
    EXPECT_LT(exact.sub(matrix_of(ekfac)).norm().item<double>(), exact.sub(matrix_of(kfac)).norm().item<double>());
  }
}

constexpr std::array<std::int64_t, 1> kZero = {0};
constexpr std::array<std::int64_t, 1> kOne = {1};

TEST_F(KfacLayers, GroupsAndPartsOfAWeightStandForThemselves) {
  const at::Tensor weight = weight_of({4, 2, 3});
  const at::Tensor bias = weight_of({4});
  const std::vector<Batch> batches = {{at::randn({5, 4, 6}, at::kDouble), {}, {}}};
  const auto whole = [](const std::vector<at::Tensor>& w, const at::Tensor& x) {
    return at::conv1d(x, w[0], w[1], kOne, kZero, kOne, /*groups=*/2).tanh();
  };
  const auto parts = [](const std::vector<at::Tensor>& w, const at::Tensor& x) {
    std::vector<at::Tensor> found;
    for (const std::int64_t first : {0, 2}) {
      found.push_back(at::conv1d(x.narrow(1, first, 2), w[0].narrow(0, first, 2), w[1].narrow(0, first, 2)));
    }
    return at::cat(found, 1).tanh();
  };
  for (const bool corrected : {false, true}) {
    const KroneckerOptions options{.corrected = corrected};
    const KroneckerFactors by_groups(model_of({{"weight", weight}, {"bias", bias}}, whole), "mse", batches, {},
                                     options);
    const KroneckerFactors by_parts(model_of({{"weight", weight}, {"bias", bias}}, parts), "mse", batches, {}, options);
    EXPECT_EQ(by_groups.blocks().size(), 1);
    EXPECT_EQ(by_parts.blocks().size(), 2);
    EXPECT_TRUE(matrix_of(by_groups).allclose(matrix_of(by_parts), 1e-10, 1e-12)) << corrected;
    EXPECT_GT(matrix_of(by_groups).norm().item<double>(), 1e-3);
  }
}

TEST_F(KfacLayers, RowsOfASampleMayLieInAnyOrder) {
  const at::Tensor weight = weight_of({3, 2});
  const at::Tensor bias = weight_of({3});
  const std::vector<Batch> batches = {{at::randn({5, 4, 2}, at::kDouble), {}, {}}};
  const std::vector<Forward> ways = {
      [](const std::vector<at::Tensor>& w, const at::Tensor& x) { return at::linear(x, w[0], w[1]); },
      [](const std::vector<at::Tensor>& w, const at::Tensor& x) { return x.matmul(w[0].t()).add(w[1]); },
      [](const std::vector<at::Tensor>& w, const at::Tensor& x) {
        return at::linear(x.transpose(0, 1), w[0], w[1]).transpose(0, 1);
      },
      [](const std::vector<at::Tensor>& w, const at::Tensor& x) {
        return at::linear(x.transpose(0, 1).contiguous(), w[0], w[1]).transpose(0, 1);
      }};
  const std::vector<KroneckerOptions> settings = {
      {}, {.weight_sharing = "reduce"}, {.corrected = true}, {.corrected = true, .weight_sharing = "reduce"}};
  for (const KroneckerOptions& options : settings) {
    std::vector<at::Tensor> found;
    for (const Forward& way : ways) {
      const Model model =
          model_of({{"weight", weight}, {"bias", bias}},
                   [way](const std::vector<at::Tensor>& w, const at::Tensor& x) { return way(w, x).tanh().sum(1); });
      const KroneckerFactors kfac(model, "mse", batches, {}, options);
      found.push_back(matrix_of(kfac));
      EXPECT_EQ(kfac.blocks().size(), 1);
      EXPECT_TRUE(found.back().allclose(found.front(), 1e-10, 1e-12))
          << options.corrected << " " << options.weight_sharing << " " << found.size();
      if (options.corrected) {
        EXPECT_NEAR(kfac.trace(), matrix_of(Fisher(model, "mse", batches)).trace().item<double>(), 1e-11);
      }
    }
  }
}

TEST_F(KfacLayers, TakesChosenParametersAndABiasAlone) {
  const SmallNet net;
  const auto batches = net.cut(net.y, {6, 5});
  const KroneckerFactors whole(net.model(), "mse", batches);
  const KroneckerFactors head(net.model(), "mse", batches, {}, {.parameters = {"head.*"}});
  EXPECT_TRUE(matrix_of(head).allclose(matrix_of(whole).narrow(0, 16, 12).narrow(1, 16, 12), 1e-12, 1e-14));
  const KroneckerFactors bias(net.model(), "mse", batches, {}, {.parameters = {"hidden.bias"}});
  EXPECT_TRUE(matrix_of(bias).allclose(whole.blocks()[0].gradient_factor[0], 1e-12, 1e-14));
}

TEST_F(KfacLayers, SaysWhatItCannotTake) {
  const SmallNet net;
  const auto batches = net.cut(net.classes, {6, 5});
  Model scaled = net.model();
  const at::Tensor scale = weight_of({3});
  scaled.parameters.add("scale", scale);
  scaled.forward = [forward = scaled.forward, scale](const Batch& batch) { return forward(batch).mul(scale); };
  EXPECT_ERROR_WITH("[kronecker_factors] scale is in no linear or convolution layer: MulBackward0 takes it",
                    KroneckerFactors(scaled, "mse", batches));
  const KroneckerFactors rest(scaled, "mse", batches, {}, {.unsupported = "leave_out"});
  EXPECT_EQ(rest.size(), 28);
  EXPECT_EQ(rest.left_out(), std::vector<std::string>{"scale"});

  const at::Tensor tied = weight_of({3, 3});
  const auto twice = [](const std::vector<at::Tensor>& w, const at::Tensor& x) {
    return x.matmul(w[0].t()).tanh().matmul(w[0].t());
  };
  EXPECT_ERROR_WITH("tied is in no linear or convolution layer: it is used several times",
                    KroneckerFactors(model_of({{"tied", tied}}, twice), "mse", batches));
  const auto transposed = [](const std::vector<at::Tensor>& w, const at::Tensor& x) {
    return at::conv_transpose2d(x.view({x.size(0), 1, 1, 3}), w[0]).flatten(1);
  };
  EXPECT_ERROR_WITH("up is in no linear or convolution layer: ConvolutionBackward0 takes it",
                    KroneckerFactors(model_of({{"up", weight_of({1, 2, 2, 2})}}, transposed), "mse", batches));
  const auto beside = [](const std::vector<at::Tensor>& w, const at::Tensor& x) {
    const at::Tensor product = x.matmul(w[0].t());
    return product.add(w[1]).tanh().add(product);
  };
  EXPECT_ERROR_WITH(
      "the product of a weight is used both with and without its bias",
      KroneckerFactors(model_of({{"weight", weight_of({3, 3})}, {"bias", weight_of({3})}}, beside), "mse", batches));
  const auto mixed = [](const std::vector<at::Tensor>& w, const at::Tensor& x) {
    const at::Tensor y = x.matmul(w[0].t()).tanh();
    return y.sub(y.mean(0));
  };
  const Model mixing = model_of({{"weight", weight_of({3, 3})}}, mixed);
  EXPECT_ERROR_WITH("[kronecker_factors] the samples of the mini-batch mix", KroneckerFactors(mixing, "mse", batches));
  EXPECT_ERROR_WITH("the correction takes the gradient of each sample",
                    KroneckerFactors(mixing, "mse", batches, {}, {.corrected = true, .check_deterministic = false}));
  EXPECT_ERROR_WITH(
      "weight_sharing reduce the sum over its positions",
      KroneckerFactors(mixing, "mse", batches, {}, {.weight_sharing = "reduce", .check_deterministic = false}));
  EXPECT_NO_THROW(KroneckerFactors(mixing, "mse", batches, {}, {.check_deterministic = false}));
  const at::Tensor table = at::randn({6, 3}, at::kDouble);  // as many rows as samples, and none of them
  const auto positions = [table](const std::vector<at::Tensor>& w, const at::Tensor& x) {
    return x.add(table.matmul(w[0].t()).tanh().mean(0)).tanh();
  };
  EXPECT_ERROR_WITH("a layer's rows are none of the samples'",
                    KroneckerFactors(model_of({{"weight", weight_of({3, 3})}}, positions), "mse", net.cut(net.y, {6})));

  EXPECT_ERROR_WITH("[kronecker_factors] type is \"precise\"",
                    KroneckerFactors(net.model(), "mse", batches, {.type = "precise"}));
  EXPECT_ERROR_WITH("weight_sharing is \"sum\"",
                    KroneckerFactors(net.model(), "mse", batches, {}, {.weight_sharing = "sum"}));
  EXPECT_ERROR_WITH("unsupported is \"drop\"",
                    KroneckerFactors(net.model(), "mse", batches, {}, {.unsupported = "drop"}));
  const KroneckerFactors kfac(net.model(), "cross_entropy", batches);
  EXPECT_ERROR_WITH("[kronecker_factors] damping is -1, allowed: >= 0", kfac.inverse(-1));
  const Model plain = model_of({{"weight", weight_of({3, 3})}}, [](const std::vector<at::Tensor>& w,
                                                                   const at::Tensor& x) { return x.matmul(w[0].t()); });
  const KroneckerFactors none(plain, "mse", std::vector<Batch>{{at::zeros({2, 3}, at::kDouble), {}, {}}});
  EXPECT_ERROR_WITH("the smallest eigenvalue of weight with the damping is 0: there is no inverse", none.inverse(0));
  EXPECT_ERROR_WITH("the vector has the shape [3], allowed: [28]", kfac.apply(at::zeros({3}, at::kDouble)));
  const KroneckerFactors corrected(net.model(), "mse", batches, {}, {.corrected = true});
  EXPECT_ERROR_WITH("[kronecker_factors] corrected eigenvalues are no products", corrected.factored_inverse(0.1));
}

}  // namespace
}  // namespace gradwise
