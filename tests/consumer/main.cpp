// Fits a linear model to data that it made itself, and exits with 1 where the weights are not those of the data.
#include <ATen/core/Tensor.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <cstdio>

#include "gradwise/core/random_state.h"
#include "gradwise/data/loader.h"
#include "gradwise/train/loop.h"
#include "gradwise/train/losses.h"

using namespace gradwise;

int main() {
  seed_everything(1);
  const at::Tensor truth = at::tensor({1.0F, -2.0F, 0.5F}).unsqueeze(1);
  const at::Tensor inputs = at::randn({512, 3});
  DataLoader loader(make_dataset(inputs, inputs.matmul(truth)), {.batch_size = 64});

  const at::Tensor weight = at::zeros({3, 1}).set_requires_grad(true);
  Model model;
  model.parameters.add("weight", weight);
  model.forward = [weight](const Batch& batch) { return batch.input.matmul(weight); };

  AutogradTrainingLoop loop(model, {.lr = 0.05, .weight_decay = 0}, {.epochs = 30});
  const FitResult result = loop.fit(loader, nullptr, make_loss("mse"));

  const double error = weight.detach().sub(truth).abs().max().item<double>();
  std::printf("consumer: %s after %lld steps, largest error of a weight %.4f\n", result.status.c_str(),
              static_cast<long long>(result.steps), error);
  return result.status == "finished" && result.steps == 240 && error < 0.05 ? 0 : 1;
}
