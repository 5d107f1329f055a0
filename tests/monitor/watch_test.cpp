// Readings against ATen's own operators; what a watched training must not notice.
#include "gradwise/monitor/watch.h"

#include <ATen/ops/dot.h>
#include <ATen/ops/embedding.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "gradwise/autograd/tensor_moments.h"
#include "gradwise/optim/autograd_optimizer.h"
#include "tests/data/error_of.h"
#include "tests/data/tensor_of.h"
#include "tests/optim/toy_model.h"

namespace gradwise {
namespace {

void expect_moments_of(const kernels::Moments& seen, const at::Tensor& gradient) {
  const at::Tensor all = (gradient.is_sparse() ? gradient.to_dense() : gradient).to(at::kDouble).reshape({-1});
  const at::Tensor values = all.masked_select(all.isfinite());
  const auto number = [](const at::Tensor& x) { return x.to(at::kDouble).item<double>(); };
  const double l1 = number(values.abs().sum());
  EXPECT_EQ(seen.count, all.numel());
  EXPECT_EQ(static_cast<double>(seen.zeros), number(values.eq(0).sum()));
  EXPECT_EQ(static_cast<double>(seen.nans), number(all.isnan().sum()));
  EXPECT_EQ(static_cast<double>(seen.infs), number(all.isinf().sum()));
  EXPECT_NEAR(seen.l1(), l1, 1e-6 * l1);
  EXPECT_NEAR(seen.l2(), number(values.norm()), 1e-6 * number(values.norm()));
  EXPECT_NEAR(seen.mean(), number(values.mean()), 1e-6 * l1 / static_cast<double>(values.numel()));
  EXPECT_NEAR(seen.variance(), number(values.var(/*unbiased=*/false)), 1e-5 * number(values.square().mean()));
  EXPECT_EQ(seen.min, number(values.min()));
  EXPECT_EQ(seen.max, number(values.max()));
}

// The same figures as a reading gives them.
void expect_reading_of(const ParameterReading& seen, const at::Tensor& gradient) {
  const kernels::Moments m = moments_of(gradient);
  const auto count = static_cast<double>(gradient.numel());
  expect_moments_of(m, gradient);
  EXPECT_FALSE(seen.missing);
  EXPECT_EQ(seen.grad_norm, m.l2());
  EXPECT_EQ(seen.grad_mean_abs, m.l1() / count);
  EXPECT_EQ(seen.grad_max, m.max_abs());
  EXPECT_EQ(seen.grad_min_value, m.min);
  EXPECT_EQ(seen.grad_max_value, m.max);
  EXPECT_EQ(seen.grad_mean, m.mean());
  EXPECT_EQ(seen.grad_variance, m.variance());
  EXPECT_EQ(seen.grad_zeros, static_cast<double>(m.zeros) / count);
  EXPECT_EQ(seen.grad_nans, m.nans);
  EXPECT_EQ(seen.grad_infs, m.infs);
}

TEST(Watch, ReadsWhatAtenComputes) {
  const Model model = toy_model();
  Watch watch(model.parameters);
  backward(model, toy_batch(16));
  const auto seen = watch.step();
  ASSERT_EQ(seen.size(), model.parameters.size());
  for (std::size_t i = 0; i < seen.size(); ++i) {
    EXPECT_EQ(watch.names()[i], model.parameters.names[i]);
    expect_reading_of(seen[i], model.parameters.tensors[i].grad());
  }
}

struct Passes {
  const char* name;
  std::int64_t expected;
  int run;
};

class SeveralPasses : public testing::TestWithParam<Passes> {};

TEST_P(SeveralPasses, AreReadAsOneGradient) {
  const Model model = toy_model();
  Watch watch(model.parameters);
  for (int step = 0; step < 2; ++step) {
    watch.expect_backwards(GetParam().expected);
    for (int pass = 0; pass < GetParam().run; ++pass) {
      backward(model, toy_batch(8, static_cast<unsigned int>(pass)));
    }
    const auto seen = watch.step();
    for (std::size_t i = 0; i < seen.size(); ++i) {
      expect_reading_of(seen[i], model.parameters.tensors[i].grad());
      at::Tensor(model.parameters.tensors[i]).mutable_grad().reset();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Watch, SeveralPasses,
                         testing::Values(Passes{"as_said", 3, 3}, Passes{"fewer", 4, 2}, Passes{"more", 1, 3}),
                         [](const auto& info) { return info.param.name; });

// Gradients as they come in practice: a parameter and a loss on it.
struct GradientCase {
  const char* name;
  at::Tensor parameter;
  LossFunction loss;
};

std::vector<GradientCase> gradient_cases() {
  const LossFunction square = [](const at::Tensor& p, const at::Tensor&) { return p.square().sum(); };
  std::vector<GradientCase> cases;
  const auto add = [&cases](const char* name, const at::Tensor& parameter, const LossFunction& loss) {
    cases.push_back({name, parameter.detach().requires_grad_(), loss});
  };
  add("float32", random_tensor({70, 33}, 1), square);
  add("float64", random_tensor({70, 33}, 2, at::kDouble), square);
  add("float16", random_tensor({70, 33}, 3, at::kHalf), square);
  add("bfloat16", random_tensor({70, 33}, 4, at::kBFloat16), square);
  add("scalar", random_tensor({}, 5), square);
  add("empty rows", random_tensor({4, 3}, 6),
      [](const at::Tensor& p, const at::Tensor&) { return p.select(0, 1).sum(); });
  add("transposed", random_tensor({40, 30}, 7).t(), square);
  add("expanded", random_tensor({40, 30}, 8), [](const at::Tensor& p, const at::Tensor&) { return p.sum(); });
  add("nonfinite", random_tensor({9}, 9), [](const at::Tensor& p, const at::Tensor&) {
    return p.mul(tensor_of<float>({1, INFINITY, NAN, -INFINITY, 0, 2, 3, 0, 1}, {9})).sum();
  });
  add("sparse", random_tensor({10, 4}, 10), [](const at::Tensor& p, const at::Tensor&) {
    const at::Tensor rows = tensor_of<std::int64_t>({1, 7, 1}, {3});
    return at::embedding(p, rows, -1, false, /*sparse=*/true).square().sum();
  });
  add("used twice", random_tensor({20}, 11),
      [](const at::Tensor& p, const at::Tensor&) { return p.square().sum().add(p.exp().sum()); });
  return cases;
}

TEST(Watch, ReadsGradientsOfEveryKind) {
  for (const GradientCase& c : gradient_cases()) {
    SCOPED_TRACE(c.name);
    Watch watch({{"p"}, {c.parameter}});
    c.loss(c.parameter, {}).backward();
    const auto seen = watch.step();
    expect_reading_of(seen[0], c.parameter.grad());
    expect_moments_of(moments_from(gradient_figures(c.parameter.grad()).const_data_ptr<double>()), c.parameter.grad());
  }
}

TEST(Watch, FiguresOfAnEmptySparseGradient) {
  const at::Tensor none = random_tensor({6, 2}, 1).zero_().to_sparse();
  const kernels::Moments moments = moments_from(gradient_figures(none).const_data_ptr<double>());
  EXPECT_EQ(moments.zeros, 12);
  EXPECT_EQ(moments.max, 0);
  EXPECT_EQ(moments_of(none).zeros, 12);
}

TEST(Watch, LeavesATrainingsBitsAsTheyAre) {
  const auto train = [](bool watched) {
    const Model model = toy_model();
    AutogradOptimizer optimizer(model);
    const auto watch =
        watched ? std::make_unique<Watch>(model.parameters, WatchOptions{.histograms_every = 2}) : nullptr;
    for (unsigned int i = 0; i < 20; ++i) {
      const Batch batch = toy_batch(8, i);
      optimizer.accumulate(squared_error, batch);
      if (watch) {
        (void)watch->step();
      }
      (void)optimizer.finish_step();
      if (watch) {
        (void)watch->after_update();
      }
    }
    return copies_of(model.parameters.tensors);
  };
  expect_same_bits(train(true), train(false));
}

TEST(Watch, SaysWhichGradientsNeverCame) {
  Model model = toy_model();
  model.parameters.add("unused", random_tensor({3}, 1).requires_grad_());
  model.parameters.add("frozen", random_tensor({3}, 1));
  Watch watch(model.parameters);
  backward(model, toy_batch(8));
  const auto seen = watch.step();
  ASSERT_EQ(seen.size(), 6U);
  EXPECT_FALSE(seen[0].missing);
  EXPECT_TRUE(seen[4].missing);
  EXPECT_TRUE(std::isnan(seen[4].grad_norm));
  EXPECT_FALSE(seen[5].missing) << "nothing is missing where nothing is asked for";
  EXPECT_TRUE(std::isnan(seen[5].grad_norm));
}

TEST(Watch, DropsGradientsThatAreNoSteps) {
  const Model model = toy_model();
  Watch watch(model.parameters);
  backward(model, toy_batch(8));
  ASSERT_TRUE(watch.arrived());
  watch.drop_gradients();
  EXPECT_FALSE(watch.arrived());
  EXPECT_TRUE(watch.step()[0].missing);
}

TEST(Watch, UnscalesByTheFactorItIsGiven) {
  const Model model = toy_model();
  const Model twin = toy_model();
  Watch scaled(model.parameters);
  Watch plain(twin.parameters);
  backward(model, toy_batch(8), 1024);
  backward(twin, toy_batch(8));
  const auto a = scaled.step(1.0 / 1024);
  const auto b = plain.step();
  EXPECT_NEAR(a[0].grad_norm, b[0].grad_norm, 1e-6 * b[0].grad_norm);
  EXPECT_NEAR(a[0].grad_max_value, b[0].grad_max_value, 1e-6 * std::abs(b[0].grad_max_value));
  EXPECT_NEAR(a[0].grad_variance, b[0].grad_variance, 1e-6 * b[0].grad_variance);
}

TEST(Watch, ReadsAtItsIntervals) {
  const Model model = toy_model();
  Watch watch(model.parameters, {.every = 2, .histograms_every = 4});
  for (std::int64_t step = 1; step <= 6; ++step) {
    backward(model, toy_batch(8, static_cast<unsigned int>(step)));
    (void)watch.step();
    EXPECT_EQ(watch.was_read(), step == 1 || step % 2 == 0) << step;
    if (step == 2 || step == 6) {
      EXPECT_TRUE(watch.histograms().empty()) << step;
    }
    if (step == 1 || step == 4) {
      EXPECT_FALSE(watch.histograms().empty()) << step;
    }
  }
  EXPECT_EQ(watch.steps(), 6);
}

TEST(Watch, KeepsItsIntervalsWhereATrainingIsResumed) {
  const Model model = toy_model();
  Watch watch(model.parameters, {.every = 2, .histograms_every = 4});
  watch.count_from(6);
  for (std::int64_t step = 7; step <= 8; ++step) {
    backward(model, toy_batch(8, static_cast<unsigned int>(step)));
    (void)watch.step();
    EXPECT_EQ(watch.was_read(), step == 8) << step;
  }
  EXPECT_FALSE(watch.histograms().empty());
  EXPECT_EQ(watch.steps(), 8);
}

TEST(Watch, CountsEveryElementOfAHistogramOnce) {
  const Model model = toy_model();
  Watch watch(model.parameters, {.histograms_every = 1});
  backward(model, toy_batch(8));
  const auto seen = watch.step();
  for (std::size_t i = 0; i < seen.size(); ++i) {
    const MagnitudeHistogram& counts = watch.histograms()[i];
    const auto elements = static_cast<double>(model.parameters.tensors[i].numel());
    EXPECT_EQ(static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::int64_t{0})),
              elements * (1 - seen[i].grad_zeros));
  }
}

TEST(Watch, TellsTheAngleToTheGradientBefore) {
  const at::Tensor p = random_tensor({3000}, 1).requires_grad_();
  const at::Tensor direction = random_tensor({3000}, 2);
  const at::Tensor other = random_tensor({3000}, 3);
  Watch watch({{"p"}, {p}});
  const auto cosine_of = [&watch, &p](const at::Tensor& gradient) {
    p.mutable_grad().reset();
    p.mul(gradient).sum().backward();
    return watch.step()[0].grad_cosine;
  };
  EXPECT_TRUE(std::isnan(cosine_of(direction))) << "nothing before it";
  EXPECT_NEAR(cosine_of(direction.mul(-3)), -1, 1e-6);
  const double exact =
      at::dot(direction, other).item<double>() / (direction.norm().item<double>() * other.norm().item<double>());
  EXPECT_NEAR(cosine_of(other), -exact, 0.12) << "sketched";
}

TEST(Watch, RefusesNamesThatCollide) {
  NamedParameters twice;
  twice.add("w", random_tensor({3}, 1).requires_grad_());
  twice.add("w", random_tensor({4}, 2).requires_grad_());
  EXPECT_ERROR_WITH("[watch] two parameters are called \"w\", allowed: names that differ", Watch(twice));
}

TEST(Watch, RefusesWhatItCantWatch) {
  EXPECT_ERROR_WITH("[watch] none of the 1 parameters asks for a gradient", Watch({{"p"}, {random_tensor({2}, 1)}}));
  EXPECT_ERROR_WITH("[watch] every is 0, allowed: >= 1", Watch(toy_model().parameters, WatchOptions{.every = 0}));
  const at::Tensor computed = random_tensor({2}, 1).requires_grad_().mul(2);
  EXPECT_ERROR_WITH("\"p\" is computed from others", Watch({{"p"}, {computed}}));
  Watch watch(toy_model().parameters);
  EXPECT_ERROR_WITH("a step has 0 backward passes", watch.expect_backwards(0));
}

}  // namespace
}  // namespace gradwise
