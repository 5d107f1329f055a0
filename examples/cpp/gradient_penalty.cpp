// The gradient penalty of WGAN-GP (Gulrajani et al. 2017, equation 3), and the training of a critic by it.
//
// A critic D(x) = w·x between a cloud and itself moved by d maximises w·d - λ (|w| - 1)²: its optimum points along d
// and has the length 1 + |d| / (2 λ). For a critic with a hidden layer the gradient of the penalty, which is a second
// derivative of the network, is held against central differences.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>

#include "examples/cpp/network.h"
#include "examples/cpp/proof.h"
#include "gradwise/autograd/functions/gradients.h"
#include "gradwise/core/random_state.h"

using namespace gradwise;

namespace {

constexpr double kLambda = 10;

// Points between the two clouds, one a pair.
at::Tensor between(const at::Tensor& real, const at::Tensor& made) {
  const at::Tensor share = at::rand({real.size(0), 1}, real.options());
  return real.mul(share).add(made.mul(share.neg().add(1))).requires_grad_();
}

void train_a_linear_critic(Proof& proof) {
  const at::Tensor move = at::tensor({1.8, 2.4}, at::kDouble);  // of length 3
  const at::Tensor made = at::randn({256, 2}, at::kDouble);
  const at::Tensor real = made.add(move);
  const at::Tensor w = at::tensor({0.3, -0.2}, at::kDouble).requires_grad_();
  for (int step = 0; step < 400; ++step) {
    const at::Tensor points = between(real, made);
    const at::Tensor loss =
        made.matmul(w).mean().sub(real.matmul(w).mean()).add(gradient_penalty(points.matmul(w), points), kLambda);
    const at::Tensor slope = gradients({loss}, {w}).front();
    const at::NoGradGuard no_grad;
    w.sub_(slope, 0.04);
  }
  const at::Tensor found = w.detach();
  const double length = found.norm().item<double>();
  proof.equal("length of the critic's gradient", length, 1 + 3 / (2 * kLambda), 1e-6);
  proof.equal("cosine with the way between the clouds", found.dot(move).item<double>() / (3 * length), 1, 1e-9);
}

void check_a_deep_critic(Proof& proof) {
  const Model critic = dense_network({2, 16, 1}, [](const at::Tensor& x) { return x.tanh(); }, at::kDouble);
  const at::Tensor points = at::randn({32, 2}, at::kDouble).requires_grad_();
  const auto penalty = [&] { return gradient_penalty(critic.forward({points, {}, {}}), points); };
  const at::Tensor& weight = critic.parameters.tensors.front();
  const at::Tensor slope = gradients({penalty()}, {weight}).front();
  const at::Tensor differences = at::zeros_like(weight);
  constexpr double kStep = 1e-6;
  for (std::int64_t i = 0; i < weight.numel(); ++i) {
    const at::Tensor element = weight.detach().view(-1)[i];
    element.add_(kStep);
    const double higher = penalty().item<double>();
    element.sub_(2 * kStep);
    const double lower = penalty().item<double>();
    element.add_(kStep);
    differences.view(-1)[i] = (higher - lower) / (2 * kStep);
  }
  proof.below("largest difference of the penalty's gradient from central differences",
              slope.sub(differences).abs().max().item<double>(), 1e-7);
}

}  // namespace

int main() {
  seed_everything(0);
  Proof proof("Gradient penalty");
  train_a_linear_critic(proof);
  check_a_deep_critic(proof);
  return proof.exit_code();
}
