#include "benchmarks/optimizer/steps.h"

#include <ATen/ATen.h>
#include <c10/util/accumulate.h>
#include <torch/nn/utils/clip_grad.h>
#include <torch/optim/adamw.h>

#include <chrono>
#include <memory>
#include <stdexcept>

#include "gradwise/core/named_parameters.h"
#include "gradwise/optim/clipping.h"
#include "gradwise/optim/fused_optimizer.h"
#include "gradwise/optim/gradient_pass.h"
#include "gradwise/optim/torch_optimizers.h"

namespace gradwise::bench {
namespace {

constexpr double kRate = 1e-3;
constexpr double kDecay = 1e-2;
constexpr double kShare = 1e-3;  // of the new weights in the average

struct Tensors {
  explicit Tensors(const Shapes& shapes) {
    for (const std::vector<std::int64_t>& shape : shapes) {
      weights.push_back(at::randn(shape).mul_(0.02).requires_grad_());
      gradients.push_back(at::randn(shape).mul_(1e-3));
      at::Tensor(weights.back()).mutable_grad() = gradients.back();
      averages.push_back(weights.back().detach().clone());
      named.add(std::to_string(named.size()), weights.back());
    }
  }
  std::vector<at::Tensor> weights, gradients, averages;
  NamedParameters named;
};

std::function<void()> ours(const Shapes& shapes, bool norm_known, const std::string& state) {
  auto tensors = std::make_shared<Tensors>(shapes);
  OptimizerOptions options;
  options.lr = kRate;
  options.weight_decay = kDecay;
  options.state_dtype = state;
  std::shared_ptr<torch::optim::Optimizer> made = make_optimizer(options, tensors->named);
  auto pass = std::make_shared<GradientPass>();
  return [tensors, made, pass, norm_known] {
    const double norm = norm_known ? 1.5 : pass->norm(tensors->gradients);
    static_cast<FusedOptimizer&>(*made).update(
        {.grad_scale = clip_coefficient(norm, 1), .averages = tensors->averages, .average_share = kShare});
  };
}

// Of those that ours gives of a gradient: L2, mean magnitude, largest magnitude, variance, share of zeros.
void five_statistics(const std::vector<at::Tensor>& gradients) {
  double sink = 0;
  for (const at::Tensor& g : gradients) {
    sink += g.norm().item<double>() + g.abs().mean().item<double>() + g.abs().max().item<double>() +
            g.var().item<double>() + g.eq(0).to(at::kFloat).mean().item<double>();
  }
  if (std::isnan(sink) && gradients.front().numel() > 1) {
    throw std::runtime_error("the statistics are not finite");
  }
}

std::function<void()> aten_fused(const Shapes& shapes, bool alone, bool statistics) {
  struct State {
    std::vector<at::Tensor> first, second, steps;
  };
  auto tensors = std::make_shared<Tensors>(shapes);
  auto state = std::make_shared<State>();
  for (const at::Tensor& weights : tensors->weights) {
    state->first.push_back(at::zeros_like(weights));
    state->second.push_back(at::zeros_like(weights));
    state->steps.push_back(at::zeros({}));
  }
  return [tensors, state, alone, statistics] {
    const at::NoGradGuard no_grad;
    if (statistics) {
      five_statistics(tensors->gradients);
    }
    if (!alone) {
      // As torch.nn.utils.clip_grad_norm_: multiplies in any case, to spare the copy to the host.
      const at::Tensor norm = at::linalg_vector_norm(at::stack(at::_foreach_norm(tensors->gradients, 2)));
      at::_foreach_mul_(tensors->gradients, at::clamp_max(1.0 / (norm + 1e-6), 1.0));
    }
    at::_foreach_add_(state->steps, 1);
    at::_fused_adamw_(tensors->weights, tensors->gradients, state->first, state->second, {}, state->steps, kRate, 0.9,
                      0.999, kDecay, 1e-8, false, false);
    if (!alone) {
      at::_foreach_lerp_(tensors->averages, tensors->weights, kShare);
    }
  };
}

std::function<void()> libtorch(const Shapes& shapes) {
  auto tensors = std::make_shared<Tensors>(shapes);
  auto optimizer =
      std::make_shared<torch::optim::AdamW>(tensors->weights, torch::optim::AdamWOptions(kRate).weight_decay(kDecay));
  return [tensors, optimizer] {
    torch::nn::utils::clip_grad_norm_(tensors->weights, 1.0);
    optimizer->step();
    const at::NoGradGuard no_grad;
    at::_foreach_lerp_(tensors->averages, tensors->weights, kShare);
  };
}

}  // namespace

const std::vector<std::string>& step_kinds() {
  static const std::vector<std::string> kinds{
      "ours", "ours_norm_known", "ours_bf16_state", "aten_fused", "aten_fused_stats", "aten_fused_alone", "libtorch"};
  return kinds;
}

// Bytes of a float32 parameter in one step: REFERENCE's table of what each way reads and writes.
StepKind make_step(const std::string& kind, const Shapes& shapes) {
  if (kind == "ours") {
    return {kind, ours(shapes, false, "float32"), 40};
  }
  if (kind == "ours_norm_known") {
    return {kind, ours(shapes, true, "float32"), 36};
  }
  if (kind == "ours_bf16_state") {
    return {kind, ours(shapes, false, "bfloat16"), 32};
  }
  if (kind == "ours_one_tensor") {
    std::int64_t elements = 0;
    for (const std::vector<std::int64_t>& shape : shapes) {
      elements += c10::multiply_integers(shape);
    }
    return {kind, ours({{elements}}, false, "float32"), 40};
  }
  if (kind == "aten_fused") {
    return {kind, aten_fused(shapes, false, false), 52};
  }
  if (kind == "aten_fused_stats") {
    return {kind, aten_fused(shapes, false, true), 72};
  }
  if (kind == "aten_fused_alone") {
    return {kind, aten_fused(shapes, true, false), 28};
  }
  if (kind == "libtorch") {
    return {kind, libtorch(shapes), 112};
  }
  throw std::invalid_argument("no such step: " + kind);
}

double copy_seconds(std::int64_t bytes) {
  static at::Tensor memory;
  if (!memory.defined() || memory.numel() * 8 != bytes) {
    memory = at::ones({bytes / 8});  // 4 bytes of each 8 are read, and 4 written
  }
  const auto start = std::chrono::steady_clock::now();
  memory.mul_(1.0000001);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace gradwise::bench
