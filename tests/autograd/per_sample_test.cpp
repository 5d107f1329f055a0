// Per-sample gradients of every kind of layer against a loop over the samples, in float64.
#include "gradwise/autograd/per_sample/per_sample_gradients.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Reduction.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/dropout.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mse_loss.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>
#include <string>

#include "gradwise/autograd/per_sample/sample_losses.h"
#include "gradwise/core/error.h"
#include "gradwise/core/random_state.h"
#include "tests/autograd/per_sample_layers.h"
#include "tests/data/error_of.h"

namespace gradwise {
namespace {

using namespace per_sample_layers;

class PerSample : public testing::TestWithParam<Layer> {
 protected:
  void SetUp() override { seed_everything(11); }
};

TEST_P(PerSample, EqualsALoop) {
  const Model model = model_of(GetParam());
  const at::Tensor x = GetParam().input();
  const at::Tensor y = target_of();
  const at::Tensor expected = looped(model, mean_square, x, y);
  PerSampleGradients per_sample(model, mean_square);
  for (int again = 0; again < 2; ++again) {  // with layouts that are known by then
    EXPECT_TRUE(near(rows_of(per_sample.gradients(x, y)), expected));
    EXPECT_EQ(per_sample.loop_reason().empty(), GetParam().by_rules) << per_sample.loop_reason();
    const SampleNorms norms = per_sample.norms(x, y);
    EXPECT_TRUE(near(norms.norms, expected.square().sum(1).sqrt()));
    std::int64_t start = 0;
    for (std::size_t i = 0; i < model.parameters.size(); ++i) {
      const std::int64_t length = model.parameters.tensors[i].numel();
      EXPECT_TRUE(near(norms.parameter_norms[i], expected.narrow(1, start, length).square().sum(1).sqrt(), 1e-8));
      start += length;
    }
  }
  EXPECT_TRUE(near(per_sample.inner_products(x, y), expected.mm(expected.t())));
  EXPECT_FALSE(model.parameters.tensors[0].grad().defined());
}

TEST_P(PerSample, MomentsAndClippingEqualThoseOfTheLoop) {
  const Model model = model_of(GetParam());
  const at::Tensor x = GetParam().input();
  const at::Tensor y = target_of();
  const at::Tensor expected = looped(model, mean_square, x, y);
  PerSampleGradients per_sample(model, mean_square);
  const SampleMoments moments = per_sample.moments(x, y);
  EXPECT_TRUE(near(flat(moments.mean), expected.mean(0)));
  EXPECT_TRUE(near(flat(moments.second_moment), expected.square().mean(0)));
  const at::Tensor norms = expected.square().sum(1).sqrt();
  const double bound = norms.median().item<double>();
  const ClippedGradient clipped = per_sample.clipped_gradient(x, y, bound);
  EXPECT_TRUE(near(clipped.norms, norms));
  EXPECT_TRUE(near(flat(clipped.gradient), (expected * (bound / (norms + 1e-6)).clamp_max(1).unsqueeze(1)).sum(0)));
}

INSTANTIATE_TEST_SUITE_P(Layers, PerSample, testing::ValuesIn(kLayers),
                         [](const testing::TestParamInfo<Layer>& tested) { return tested.param.name; });

const Layer& layer_named(const std::string& name) {
  for (const Layer& layer : kLayers) {
    if (name == layer.name) {
      return layer;
    }
  }
  fail("test", "there is no layer ", name);
}

TEST(PerSampleLoss, ReductionPlaysNoPart) {
  seed_everything(3);
  const Model model = model_of(layer_named("linear_on_sequences"));
  const at::Tensor x = sequence();
  const at::Tensor y = doubles({kSamples, 3, 3});
  const auto mean = [](const at::Tensor& a, const at::Tensor& b) { return at::mse_loss(a, b); };
  const auto sum = [](const at::Tensor& a, const at::Tensor& b) { return (a - b).square().sum(); };
  const at::Tensor of_mean = rows_of(PerSampleGradients(model, mean).gradients(x, y));
  EXPECT_TRUE(near(of_mean, looped(model, mean, x, y)));
  EXPECT_TRUE(near(rows_of(PerSampleGradients(model, sum).gradients(x, y)), of_mean * 9));
}

TEST(PerSampleLoss, CrossEntropyIsTakenAtOnce) {
  seed_everything(3);
  const Model model = model_of(layer_named("linear"));
  const at::Tensor x = rows();
  const at::Tensor classes = at::randint(model.forward({x, {}, {}}).size(1), {kSamples}, at::kLong);
  const auto loss = [](const at::Tensor& a, const at::Tensor& b) { return at::cross_entropy_loss(a, b); };
  PerSampleGradients per_sample(model, loss);
  EXPECT_TRUE(near(rows_of(per_sample.gradients(x, classes)), looped(model, loss, x, classes)));
  EXPECT_EQ(per_sample.loop_reason(), "");
  bool by_loop = false;
  const at::Tensor losses = sample_losses(loss, model.forward({x, classes, {}}), classes, kSamples, by_loop);
  EXPECT_FALSE(by_loop);
  EXPECT_TRUE(near(losses, at::cross_entropy_loss(model.forward({x, classes, {}}), classes, {}, at::Reduction::None)));
}

TEST(PerSampleLoss, MayReadItsNumbers) {  // which vmap can't go over
  seed_everything(3);
  const Model model = model_of(layer_named("linear"));
  const at::Tensor x = rows();
  const at::Tensor y = target_of();
  const auto loss = [](const at::Tensor& a, const at::Tensor& b) {
    const double scale = b.item<double>();
    return a.square().sum() * scale;
  };
  PerSampleGradients per_sample(model, loss);
  for (int again = 0; again < 2; ++again) {
    EXPECT_TRUE(near(rows_of(per_sample.gradients(x, y)), looped(model, loss, x, y)));
  }
  EXPECT_EQ(per_sample.loop_reason(), "");
}

TEST(PerSampleLoss, OfASampleThatHasNone) {  // a gradient of zero tells no layout
  seed_everything(3);
  const Model model = model_of(layer_named("linear_on_time_major_sequences"));
  const at::Tensor x = sequence();
  at::Tensor y = at::zeros({kSamples}, at::kDouble);
  const auto loss = [](const at::Tensor& a, const at::Tensor& b) { return (a.sin().sum() * b).sum(); };
  PerSampleGradients per_sample(model, loss);
  EXPECT_EQ(rows_of(per_sample.gradients(x, y)).count_nonzero().item<std::int64_t>(), 0);
  y[3] = 2;
  EXPECT_TRUE(near(rows_of(per_sample.gradients(x, y)), looped(model, loss, x, y)));
  EXPECT_TRUE(near(rows_of(per_sample.gradients(x, y + 1)), looped(model, loss, x, y + 1)));
  EXPECT_EQ(per_sample.loop_reason(), "");
}

TEST(PerSampleBatches, OfOneSampleAndOfSizesThatChange) {
  seed_everything(3);
  const Model model = model_of(layer_named("conv2d_groups"));
  PerSampleGradients per_sample(model, mean_square);
  for (const std::int64_t samples : {1, 4, 2, 7, 1}) {
    const at::Tensor x = doubles({samples, 4, 6, 5});
    const at::Tensor y = doubles({samples});
    EXPECT_TRUE(near(rows_of(per_sample.gradients(x, y)), looped(model, mean_square, x, y))) << samples;
  }
}

TEST(PerSampleBatches, ReuseTheirMemory) {
  seed_everything(3);
  PerSampleGradients per_sample(model_of(layer_named("linear")), mean_square);
  const at::Tensor y = target_of();
  const at::Tensor first = per_sample.gradients(rows(), y).tensors[0];
  const at::Tensor second = per_sample.gradients(rows(), y).tensors[0];
  EXPECT_EQ(first.data_ptr(), second.data_ptr());
}

TEST(PerSampleBatches, OfManySamplesGoBlockByBlock) {
  seed_everything(3);
  const Model model = model_of({"wide", {{40, 30}, {20, 40}}, {}, [](const Tensors& w, const at::Tensor& x) {
                                  return at::linear(at::linear(x, w[0]).tanh(), w[1]);
                                }});
  const at::Tensor x = doubles({1500, 2, 30});
  const at::Tensor y = doubles({1500});
  const at::Tensor expected = looped(model, mean_square, x, y);
  PerSampleGradients per_sample(model, mean_square);
  EXPECT_TRUE(near(per_sample.norms(x, y).norms, expected.square().sum(1).sqrt()));
  EXPECT_TRUE(near(flat(per_sample.moments(x, y).second_moment), expected.square().mean(0)));
}

TEST(PerSampleBatches, WithoutRulesAreGoneOverByVmap) {
  seed_everything(3);
  const at::Tensor x = doubles({6, 4});
  const at::Tensor y = doubles({6});
  for (const bool reads : {false, true}) {
    Model model = model_of(
        {"exp", {{3, 4}}, {}, [](const Tensors& w, const at::Tensor& in) { return at::linear(in, w[0].exp()); }});
    int passes = 0;
    model.forward_with = [&passes, reads](const NamedParameters& parameters, const Batch& batch) {
      ++passes;
      const at::Tensor scale = reads ? at::ones({}, at::kDouble) * (batch.input.sum().item<double>() > 0 ? 1 : -1)
                                     : batch.input.sum().sign();
      return at::linear(batch.input, parameters.tensors[0].exp()) * scale * scale;
    };
    const at::Tensor expected = looped(model, mean_square, x, y);
    PerSampleGradients per_sample(model, mean_square);
    EXPECT_TRUE(near(rows_of(per_sample.gradients(x, y)), expected));
    EXPECT_EQ(passes, 1);
    EXPECT_NE(per_sample.loop_reason().find(reads ? "for vmap fails" : "vmap goes over the samples"), std::string::npos)
        << per_sample.loop_reason();
    EXPECT_TRUE(near(per_sample.norms(x, y).norms, expected.square().sum(1).sqrt()));
    EXPECT_EQ(passes, reads ? 1 : 2);
    const ClippedGradient clipped = per_sample.clipped_gradient(x, y, 0.5);
    const at::Tensor scales = (0.5 / (clipped.norms + 1e-6)).clamp_max(1);
    EXPECT_TRUE(near(flat(clipped.gradient), scales.matmul(expected)));
  }
}

TEST(PerSampleBatches, VmapIsTriedAgainAfterWhatWasNotItsOwnFailure) {
  seed_everything(3);
  std::string trouble;
  bool in_samples_too = false;
  int passes = 0;
  Model model = model_of({"exp", {{3, 4}}, {}, [&](const Tensors& w, const at::Tensor& in) {
                            if (in_samples_too && in.size(0) == 1) {
                              throw std::runtime_error(trouble);
                            }
                            return at::linear(in, w[0].exp());
                          }});
  model.forward_with = [&](const NamedParameters& parameters, const Batch& batch) {
    ++passes;
    if (!trouble.empty()) {
      throw std::runtime_error(trouble);
    }
    return at::linear(batch.input, parameters.tensors[0].exp());
  };
  PerSampleGradients per_sample(model, mean_square);
  const auto expect = [&](const at::Tensor& x, const std::string& reason, int further_passes) {
    const int before = passes;
    const at::Tensor y = doubles({x.size(0)});
    EXPECT_TRUE(near(rows_of(per_sample.gradients(x, y)), looped(model, mean_square, x, y)));
    EXPECT_NE(per_sample.loop_reason().find(reason), std::string::npos) << per_sample.loop_reason();
    EXPECT_EQ(passes - before, further_passes);
  };
  const at::Tensor x = doubles({6, 4});
  trouble = "CUDA out of memory. Tried to allocate 2 GiB";
  expect(x, "for vmap fails: CUDA out of memory", 1);
  trouble = "no such word";
  in_samples_too = true;
  EXPECT_THROW((void)per_sample.gradients(x, doubles({6})), std::runtime_error);
  in_samples_too = false;
  trouble.clear();
  expect(x, "vmap goes over the samples", 1);
  trouble = "no batching rule";
  expect(x, "for vmap fails: no batching rule", 1);
  expect(doubles({5, 4}), "for vmap fails: no batching rule", 0);
  trouble.clear();
  expect(x, "for vmap fails: no batching rule", 0);
  expect(doubles({6, 2, 4}), "vmap goes over the samples", 1);
}

TEST(PerSampleStatistics, NoiseScaleAndSignalToNoise) {
  seed_everything(3);
  const Model model = model_of(layer_named("linear"));
  const at::Tensor x = rows() * 0.1 + 1;
  const at::Tensor y = at::ones({kSamples}, at::kDouble);
  const at::Tensor g = looped(model, mean_square, x, y);
  PerSampleGradients per_sample(model, mean_square);
  const double variance = g.var(0, /*unbiased=*/true).sum().item<double>();
  const double squared = g.mean(0).square().sum().item<double>() - variance / kSamples;
  const SampleNoise noise = per_sample.noise_scale(x, y);
  EXPECT_NEAR(noise.variance, variance, 1e-9 * variance);
  EXPECT_NEAR(noise.squared_norm, squared, 1e-9 * std::abs(squared));
  EXPECT_NEAR(noise.noise_scale, variance / squared, 1e-8 * noise.noise_scale);
  const at::Tensor ratio = flat(per_sample.moments(x, y).signal_to_noise);
  EXPECT_TRUE(near(ratio, g.mean(0).square() / g.var(0, /*unbiased=*/true), 1e-6));
}

TEST(PerSampleStatistics, OfSamplesThatAreNearlyTheSame) {
  seed_everything(3);
  const Model wide =
      model_of({"linear", {{3, 4}}, {}, [](const Tensors& w, const at::Tensor& x) { return at::linear(x, w[0]); }});
  const at::Tensor w = wide.parameters.tensors[0].detach().to(at::kFloat).requires_grad_();
  Model single;
  single.parameters.add("w0", w);
  single.forward = [w](const Batch& batch) { return at::linear(batch.input, w); };
  for (const std::vector<std::int64_t>& shape : {std::vector<std::int64_t>{64, 4}, {64, 2, 4}}) {
    const at::Tensor x = (doubles(shape) * 2e-4 + 1).to(at::kFloat);  // outer products, and sums of them
    const at::Tensor y = at::ones({64}, at::kFloat);
    wide.parameters.tensors[0].detach().copy_(w.detach());
    const at::Tensor g = looped(wide, mean_square, x.to(at::kDouble), y.to(at::kDouble));
    PerSampleGradients per_sample(single, mean_square);
    const at::Tensor ratio = flat(per_sample.moments(x, y).signal_to_noise);
    EXPECT_EQ(ratio.scalar_type(), at::kFloat);
    const at::Tensor variance = g.var(0, /*unbiased=*/true);
    EXPECT_TRUE(ratio.to(at::kDouble).allclose(g.mean(0).square() / variance, 0.01)) << ratio;
    const double sum = variance.sum().item<double>();
    EXPECT_NEAR(per_sample.noise_scale(x, y).variance, sum, 0.01 * sum);
  }
}

TEST(PerSampleState, StaysAsItWas) {
  seed_everything(3);
  Model model = model_of(layer_named("linear"));
  const at::Tensor calls = at::zeros({1}, at::kDouble);
  model.buffers.add("calls", calls);
  model.forward = [calls, weights = model.parameters.tensors](const Batch& batch) {
    calls.add_(1);
    return at::dropout(at::linear(batch.input, weights[0], weights[1]), 0.5, true);
  };
  const at::Tensor x = rows();
  const at::Tensor y = target_of();
  const at::Tensor before = random_state(at::kCPU).tensors.at("cpu").clone();
  PerSampleGradients per_sample(model, mean_square);
  const at::Tensor once = rows_of(per_sample.gradients(x, y)).clone();
  EXPECT_TRUE(near(rows_of(per_sample.gradients(x, y)), once));  // the same masks
  EXPECT_EQ(calls.item<double>(), 0);
  EXPECT_TRUE(random_state(at::kCPU).tensors.at("cpu").equal(before));
  EXPECT_EQ(per_sample.loop_reason(), "");
}

TEST(PerSampleErrors, NameWhatIsWrong) {
  seed_everything(3);
  const Model model = model_of(layer_named("linear"));
  const at::Tensor x = rows();
  const at::Tensor y = target_of();
  PerSampleGradients per_sample(model, mean_square);
  EXPECT_ERROR_WITH("[per sample] the target has the shape [4] for 5 samples", per_sample.norms(x, doubles({4})));
  EXPECT_ERROR_WITH("the input has no samples", per_sample.norms(doubles({}), y));
  EXPECT_ERROR_WITH("max_norm is 0, allowed: > 0", per_sample.clipped_gradient(x, y, 0));
  EXPECT_ERROR_WITH("needs two samples", per_sample.noise_scale(x.narrow(0, 0, 1), y.narrow(0, 0, 1)));
  PerSampleGradients unreduced(model, [](const at::Tensor& a, const at::Tensor&) { return a; });
  EXPECT_ERROR_WITH("the loss of a sample has 3 elements", unreduced.norms(x, y));
  EXPECT_ERROR_WITH("no parameter of the model asks for a gradient", PerSampleGradients(Model{}, mean_square));
}

TEST(PerSampleErrors, RefuseABatchNormInTrainingMode) {
  seed_everything(3);
  const Model model = model_of({"batch_norm", {{4}, {4}}, {}, [](const Tensors& w, const at::Tensor& x) {
                                  return at::batch_norm(x, w[0], w[1], {}, {}, true, 0.1, 1e-5, false);
                                }});
  PerSampleGradients per_sample(model, mean_square);
  EXPECT_ERROR_WITH("a batch norm in training mode joins the samples", per_sample.gradients(image(), target_of()));
}

}  // namespace
}  // namespace gradwise
