// A step of model-agnostic meta-learning (Finn et al. 2017): the loss after a step of gradient descent is
// differentiated through that step.
//
// On quadratic tasks ½ (θ - c)·A (θ - c) the meta-gradient is (I - α A) A (θ' - c) with θ' = θ - α A (θ - c): the first
// factor is what a first-order step leaves out. Then a network learns to fit sine waves after one step on ten points.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mse_loss.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>

#include "examples/cpp/network.h"
#include "examples/cpp/proof.h"
#include "gradwise/autograd/transforms/vjp.h"
#include "gradwise/core/random_state.h"

using namespace gradwise;

namespace {

// The loss after one step of descent on `inner`, as a function of the parameters before it.
TensorFunction after_a_step(const TensorFunction& inner, const TensorFunction& outer, double rate,
                            const std::vector<std::int64_t>& argnums) {
  return [inner, outer, rate, argnums](const Tensors& parameters) {
    Tensors moved = grad(inner, {.argnums = argnums})(parameters);
    for (std::size_t i = 0; i < moved.size(); ++i) {
      moved[i] = parameters[i].sub(moved[i], rate);
    }
    return outer(moved);
  };
}

void meta_gradient_of_quadratics(Proof& proof) {
  constexpr double kRate = 0.1;
  const at::Tensor root = at::randn({4, 4}, at::kDouble);
  const at::Tensor a = root.matmul(root.t());
  const at::Tensor c = at::randn({4}, at::kDouble);
  const at::Tensor theta = at::randn({4}, at::kDouble);
  const TensorFunction task = [&](const Tensors& in) {
    const at::Tensor away = in[0].sub(c);
    return Tensors{away.dot(a.mv(away)).mul(0.5)};
  };
  const at::Tensor found = grad(after_a_step(task, task, kRate, {0}))({theta}).front();
  const at::Tensor first_order = a.mv(theta.sub(a.mv(theta.sub(c)), kRate).sub(c));
  const at::Tensor expected = at::eye(4, at::kDouble).sub(a, kRate).mv(first_order);
  proof.below("meta-gradient, away from the closed form", found.sub(expected).norm().item<double>(), 1e-10);
  proof.above("the first-order one, away from it", first_order.sub(expected).norm().item<double>(), 0.1);
}

// Ten points to learn a wave from and ten to look at, of any amplitude and phase.
struct Wave {
  at::Tensor x, y, test_x, test_y;

  Wave() {
    const at::Tensor amplitude = at::rand({1}).mul(4).add(1);
    const at::Tensor phase = at::rand({1}).mul(M_PI);
    x = at::rand({10, 1}).mul(10).sub(5);
    test_x = at::rand({10, 1}).mul(10).sub(5);
    y = x.add(phase).sin().mul(amplitude);
    test_y = test_x.add(phase).sin().mul(amplitude);
  }
};

TensorFunction loss_on(const at::Tensor& x, const at::Tensor& y) {
  return [x, y](const Tensors& p) {
    at::Tensor hidden = at::linear(x, p[0], p[1]).tanh();
    hidden = at::linear(hidden, p[2], p[3]).tanh();
    return Tensors{at::mse_loss(at::linear(hidden, p[4], p[5]), y)};
  };
}

const std::vector<std::int64_t> kAll{0, 1, 2, 3, 4, 5};
constexpr double kInnerRate = 0.02;

// Over the same new waves each time it is called.
double loss_after_one_step(const Tensors& parameters) {
  seed_everything(99);
  double sum = 0;
  constexpr int kWaves = 100;
  for (int i = 0; i < kWaves; ++i) {
    const Wave wave;
    sum += after_a_step(loss_on(wave.x, wave.y), loss_on(wave.test_x, wave.test_y), kInnerRate, kAll)(parameters)
               .front()
               .item<double>();
  }
  return sum / kWaves;
}

void learn_to_learn_waves(Proof& proof) {
  Tensors parameters;
  for (const at::Tensor& tensor :
       dense_network({1, 32, 32, 1}, [](const at::Tensor& x) { return x.tanh(); }).parameters.tensors) {
    parameters.push_back(tensor.detach());
  }
  const double before = loss_after_one_step(parameters);
  seed_everything(1);
  constexpr int kSteps = 600;
  constexpr int kTasks = 4;
  for (int step = 0; step < kSteps; ++step) {
    for (int task = 0; task < kTasks; ++task) {
      const Wave wave;
      const TensorFunction meta =
          after_a_step(loss_on(wave.x, wave.y), loss_on(wave.test_x, wave.test_y), kInnerRate, kAll);
      const Tensors slopes = grad(meta, {.argnums = kAll})(parameters);
      for (std::size_t i = 0; i < parameters.size(); ++i) {
        parameters[i] = parameters[i].sub(slopes[i].clamp(-1, 1), 0.01 / kTasks);
      }
    }
  }
  const double after = loss_after_one_step(parameters);
  std::printf("  loss of new waves after one step, before meta-training: %.3f\n", before);
  proof.below("after meta-training", after, 0.8 * before);
}

}  // namespace

int main() {
  seed_everything(0);
  Proof proof("A MAML-like step of second order");
  meta_gradient_of_quadratics(proof);
  learn_to_learn_waves(proof);
  return proof.exit_code();
}
