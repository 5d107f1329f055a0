#include "gradwise/autograd/activation_figures.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/aminmax.h>
#include <ATen/ops/full.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/var_mean.h>

#include <cmath>
#include <string>

#include "gradwise/autograd/tensor_moments.h"

namespace gradwise {
namespace {

constexpr std::int64_t kFigures = 6;
// Where the slope is 1 % of its greatest: sigmoid y(1 - y) = 0.0025, tanh 1 - y^2 = 0.01, ELU exp(x) = 0.01.
const double kSigmoidReach = std::sqrt(0.2475);
const double kTanhReach = std::sqrt(0.99);
const double kEluReach = std::log(0.01);
// Below these inputs the slope of GELU and of SiLU stays within about 0.015 of 0.
constexpr double kGeluReach = -3;
constexpr double kSiluReach = -6;
constexpr double kSureRow = 0.99;  // a softmax row that has decided

at::Tensor none(const at::Tensor& like) { return at::full({}, std::nan(""), like.options().dtype(at::kFloat)); }

at::Tensor share_of(const at::Tensor& mask) { return mask.to(at::kFloat).mean(); }

// The greatest value of each unit over samples and positions.
at::Tensor greatest_by_unit(const at::Tensor& x, bool channels) {
  if (x.dim() < 2) {
    return x.reshape({-1});
  }
  const std::int64_t unit = channels && x.dim() > 2 ? 1 : x.dim() - 1;
  std::vector<std::int64_t> others;
  for (std::int64_t d = 0; d < x.dim(); ++d) {
    if (d != unit) {
      others.push_back(d);
    }
  }
  return x.amax(others);
}

at::Tensor dead_of(const SavedActivation& saved, const at::Tensor& x, bool channels) {
  if (saved.op == "relu") {
    return share_of(greatest_by_unit(x, channels).le(0));
  }
  if (saved.op == "gelu" || saved.op == "silu") {
    return share_of(greatest_by_unit(x, channels).lt(saved.op == "gelu" ? kGeluReach : kSiluReach));
  }
  return none(x);
}

at::Tensor saturated_of(const SavedActivation& saved, const at::Tensor& x) {
  if (saved.op == "sigmoid") {
    return share_of(x.sub(0.5).abs().gt(kSigmoidReach));
  }
  if (saved.op == "tanh") {
    return share_of(x.abs().gt(kTanhReach));
  }
  if (saved.op == "elu") {
    return share_of(x.lt(kEluReach));
  }
  if (saved.op == "hardtanh") {
    return share_of(x.le(saved.low).logical_or(x.ge(saved.high)));
  }
  if (saved.op == "softmax" && x.dim() > 0) {
    return share_of(x.amax(-1).gt(kSureRow));
  }
  return none(x);
}

// All that one pass gives, and what is left to ATen's operators.
at::Tensor read_on_host(const SavedActivation& saved, const at::Tensor& x, bool channels) {
  const kernels::Moments m = moments_of(x);
  const auto count = static_cast<double>(m.count);
  // By way of float64: a variance beyond float32 becomes infinite, not an error.
  const auto number = [](double value) { return at::full({}, value, at::kDouble).to(at::kFloat); };
  const double zeros = saved.op == "relu" ? static_cast<double>(m.zeros) / count : std::nan("");
  return at::stack({number(zeros), dead_of(saved, x, channels), saturated_of(saved, x),
                    number(static_cast<double>(m.nans + m.infs) / count), number(m.mean()), number(m.variance())});
}

}  // namespace

void ActivationFigures::add(const SavedActivation& saved, bool channels) {
  const at::NoGradGuard no_grad;
  const at::Tensor x = saved.tensor.detach();
  if (x.numel() == 0) {
    activations_.push_back(at::full({kFigures}, std::nan(""), x.options().dtype(at::kFloat)));
    return;
  }
  if (kernels_read(x)) {
    activations_.push_back(read_on_host(saved, x, channels));
    return;
  }
  const auto [variance, mean] =
      at::var_mean(x.is_floating_point() && x.element_size() < 4 ? x.to(at::kFloat) : x, false);
  const at::Tensor zeros = saved.op == "relu" ? share_of(x.eq(0)) : none(x);
  const at::Tensor nonfinite = share_of(x.isfinite().logical_not());
  const auto narrow = [](const at::Tensor& t) { return t.to(at::kFloat); };
  activations_.push_back(at::stack(
      {zeros, dead_of(saved, x, channels), saturated_of(saved, x), nonfinite, narrow(mean), narrow(variance)}));
}

void ActivationFigures::add(const SavedBatchNorm& saved) {
  const at::NoGradGuard no_grad;
  const bool has_both = saved.running_mean.defined() && saved.batch_mean.defined() && saved.batch_mean.numel() > 0;
  if (!has_both) {
    const at::Tensor& any = saved.running_mean.defined() ? saved.running_mean : saved.batch_mean;
    batch_norms_.push_back(at::full(
        {2}, std::nan(""), any.defined() ? any.options().dtype(at::kFloat) : at::TensorOptions().dtype(at::kFloat)));
    return;
  }
  const at::Tensor inverse = saved.batch_inverse_deviation;
  const at::Tensor gap = saved.running_mean.sub(saved.batch_mean).abs().mul(inverse).mean();
  const at::Tensor ratio = saved.running_var.mul(inverse.square()).median();
  batch_norms_.push_back(at::stack({gap.to(at::kFloat), ratio.to(at::kFloat)}));
}

void ActivationFigures::finish(std::vector<ActivationReading>& activations,
                               std::vector<BatchNormReading>& batch_norms) {
  if (!activations_.empty()) {
    const at::Tensor host = at::stack(activations_).to(at::kCPU, at::kDouble).contiguous();
    const double* figures = host.const_data_ptr<double>();
    for (ActivationReading& reading : activations) {
      reading.zeros = figures[0];
      reading.dead = figures[1];
      reading.saturated = figures[2];
      reading.nonfinite = figures[3];
      reading.mean = figures[4];
      reading.variance = figures[5];
      figures += kFigures;
    }
  }
  if (!batch_norms_.empty()) {
    const at::Tensor host = at::stack(batch_norms_).to(at::kCPU, at::kDouble).contiguous();
    const double* figures = host.const_data_ptr<double>();
    for (BatchNormReading& reading : batch_norms) {
      reading.mean_gap = figures[0];
      reading.variance_ratio = figures[1];
      figures += 2;
    }
  }
}

}  // namespace gradwise
