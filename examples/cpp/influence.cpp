// The influence of a training sample (Koh and Liang 2017, section 2.1): how the loss on a test sample changes where the
// training is done without it, by n⁻¹ ∇L(test)·H⁻¹ ∇L(sample), with no training done again.
//
// For regularised logistic regression each sample is left out once and the training is done again: predictions and
// facts agree.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/corrcoef.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/softplus.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <utility>
#include <vector>

#include "examples/cpp/conjugate_gradients.h"
#include "examples/cpp/proof.h"
#include "gradwise/autograd/transforms/closures.h"
#include "gradwise/autograd/transforms/vmap.h"
#include "gradwise/core/random_state.h"
#include "gradwise/curvature/hessian.h"

using namespace gradwise;

namespace {

constexpr std::int64_t kSamples = 120;
constexpr std::int64_t kFeatures = 8;
constexpr double kDecay = 0.02;

// Logistic loss of labels -1 and 1; the penalty is part of every training.
at::Tensor logistic(const at::Tensor& output, const at::Tensor& target) {
  return at::softplus(output.mul(target).neg()).mean();
}

struct Classifier {
  at::Tensor weights = at::zeros({kFeatures}, at::kDouble).requires_grad_();
  Model model;
  LossFunction loss;

  Classifier() {
    model.parameters.add("weights", weights);
    model.forward = [w = weights](const Batch& batch) { return batch.input.mv(w); };
    loss = [w = weights](const at::Tensor& output, const at::Tensor& target) {
      return logistic(output, target).add(w.dot(w), 0.5 * kDecay);
    };
  }

  // Newton's method from where the weights are.
  void train(const at::Tensor& x, const at::Tensor& y) {
    for (int step = 0; step < 8; ++step) {
      const Hessian hessian(model, loss, x, y);
      const at::Tensor move =
          conjugate_gradients([&](const at::Tensor& v) { return hessian.apply(v); }, hessian.gradient(), 1e-12);
      const at::NoGradGuard no_grad;
      weights.sub_(move);
    }
  }
};

at::Tensor without(const at::Tensor& tensor, std::int64_t sample) {
  return at::cat({tensor.narrow(0, 0, sample), tensor.narrow(0, sample + 1, tensor.size(0) - sample - 1)});
}

}  // namespace

int main() {
  seed_everything(0);
  Proof proof("Influence of each training sample on the loss of one test sample");
  const at::Tensor truth = at::randn({kFeatures}, at::kDouble);
  const at::Tensor x = at::randn({kSamples, kFeatures}, at::kDouble);
  const at::Tensor y = x.mv(truth).add(at::randn({kSamples}, at::kDouble)).sign();
  const at::Tensor test_x = at::randn({1, kFeatures}, at::kDouble);
  const at::Tensor test_y = test_x.mv(truth).sign();

  Classifier classifier;
  classifier.train(x, y);
  const at::Tensor weights = classifier.weights.detach().clone();
  const auto test_loss = [&] { return logistic(test_x.mv(classifier.weights), test_y); };

  const Hessian hessian(classifier.model, classifier.loss, x, y);
  const at::Tensor solved = conjugate_gradients([&](const at::Tensor& v) { return hessian.apply(v); },
                                                grad(test_loss, classifier.model.parameters).front());
  const TensorFunction sample_loss = [](const Tensors& in) {
    return Tensors{at::softplus(in[1].dot(in[0]).mul(in[2]).neg()).add(in[0].dot(in[0]), 0.5 * kDecay)};
  };
  const at::Tensor each = vmap(grad(sample_loss), {.in_dims = {std::nullopt, 0, 0}})({weights, x, y}).front();
  const at::Tensor predicted = each.mv(solved).div(kSamples);

  const double before = test_loss().item<double>();
  std::vector<double> changes;
  for (std::int64_t sample = 0; sample < kSamples; ++sample) {
    classifier.train(without(x, sample), without(y, sample));
    changes.push_back(test_loss().item<double>() - before);
    const at::NoGradGuard no_grad;
    classifier.weights.copy_(weights);
  }
  const at::Tensor actual = at::tensor(changes, at::kDouble);
  const std::int64_t most = actual.abs().argmax().item<std::int64_t>();
  std::printf("  the most influential sample is %lld: predicted change %.3e, change by training without it %.3e\n",
              static_cast<long long>(most), predicted[most].item<double>(), actual[most].item<double>());
  proof.above("correlation of predicted and actual changes",
              at::corrcoef(at::stack({predicted, actual}))[0][1].item<double>(), 0.99);
  proof.holds("the most influential sample is found", predicted.abs().argmax().item<std::int64_t>() == most);
  return proof.exit_code();
}
