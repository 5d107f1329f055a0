// What a watch reads of weights and their updates, against ATen's own operators.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "gradwise/autograd/tensor_moments.h"
#include "gradwise/monitor/watch.h"
#include "gradwise/optim/autograd_optimizer.h"
#include "tests/optim/toy_model.h"

namespace gradwise {
namespace {

TEST(Watch, ReadsWeightsAndTheirUpdate) {
  const Model model = toy_model();
  AutogradOptimizer optimizer(model, {.name = "sgd", .lr = 0.1});
  Watch watch(model.parameters);
  for (unsigned int step = 0; step < 3; ++step) {
    const std::vector<at::Tensor> before = copies_of(model.parameters.tensors);
    optimizer.accumulate(squared_error, toy_batch(8, step));
    (void)watch.step();
    (void)optimizer.finish_step();
    const auto seen = watch.after_update();
    for (std::size_t i = 0; i < seen.size(); ++i) {
      const at::Tensor now = model.parameters.tensors[i].detach().to(at::kDouble);
      const at::Tensor old = before[i].to(at::kDouble);
      const double update = now.sub(old).norm().item<double>();
      EXPECT_NEAR(seen[i].weight_norm, now.norm().item<double>(), 1e-6 * seen[i].weight_norm);
      EXPECT_NEAR(seen[i].weight_mean, now.mean().item<double>(), 1e-6 * seen[i].weight_norm);
      EXPECT_NEAR(seen[i].weight_variance, now.var(/*unbiased=*/false).item<double>(), 1e-5 * seen[i].weight_norm);
      EXPECT_NEAR(seen[i].weight_max, now.abs().max().item<double>(), 0);
      EXPECT_NEAR(seen[i].update_norm, update, 1e-5 * update);
      EXPECT_NEAR(seen[i].update_ratio, update / old.norm().item<double>(), 1e-5 * seen[i].update_ratio);
      const kernels::WeightMoments m =
          weight_moments_from(weight_figures(model.parameters.tensors[i], old.to(at::kFloat)).const_data_ptr<double>(),
                              model.parameters.tensors[i].numel());
      EXPECT_NEAR(std::sqrt(m.update_squares), update, 1e-5 * update);
      EXPECT_EQ(m.max_abs, seen[i].weight_max);
    }
  }
}

TEST(Watch, MeasuresTheUpdateOfOneStepAtAnInterval) {
  const Model model = toy_model();
  const Model twin = toy_model();
  AutogradOptimizer optimizer(model);
  AutogradOptimizer twins(twin);
  Watch rarely(model.parameters, {.weights_every = 3});
  Watch always(twin.parameters);
  for (unsigned int step = 0; step < 7; ++step) {
    const Batch batch = toy_batch(8, step);
    optimizer.accumulate(squared_error, batch);
    twins.accumulate(squared_error, batch);
    (void)rarely.step();
    (void)always.step();
    (void)optimizer.finish_step();
    (void)twins.finish_step();
    const double seen = rarely.after_update()[0].update_norm;
    const double exact = always.after_update()[0].update_norm;
    if (step == 0 || step % 3 == 2) {
      EXPECT_EQ(seen, exact);
    }
  }
}

// Large tensors are read in parts, by several threads.
TEST(Watch, ReadsLargeTensorsAlikeWithAnyNumberOfThreads) {
  const at::Tensor weight = random_tensor({200'003}, 4).requires_grad_();
  const at::Tensor factor = random_tensor({200'003}, 5);
  const int threads = at::get_num_threads();
  std::vector<ParameterReading> seen;
  for (const int count : {1, 2}) {
    at::set_num_threads(count);
    Watch watch({{"weight"}, {weight}});
    at::Tensor(weight).mutable_grad().reset();
    weight.mul(factor).sum().backward();
    (void)watch.step();
    const at::NoGradGuard no_grad;
    const at::Tensor before = weight.detach().clone();
    at::Tensor(weight).sub_(factor.mul(0.01));
    seen.push_back(watch.after_update()[0]);
    at::Tensor(weight).copy_(before);
  }
  at::set_num_threads(threads);
  EXPECT_NEAR(seen[0].grad_norm, factor.to(at::kDouble).norm().item<double>(), 1e-4);
  EXPECT_NEAR(seen[0].update_norm, 0.01 * seen[0].grad_norm, 1e-4);
  EXPECT_EQ(seen[0].grad_norm, seen[1].grad_norm);
  EXPECT_EQ(seen[0].weight_norm, seen[1].weight_norm);
  EXPECT_EQ(seen[0].update_norm, seen[1].update_norm);
}

}  // namespace
}  // namespace gradwise
