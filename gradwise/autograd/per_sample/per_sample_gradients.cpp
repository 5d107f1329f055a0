#include "gradwise/autograd/per_sample/per_sample_gradients.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/tensordot.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>

#include "gradwise/autograd/functions/gradients.h"
#include "gradwise/autograd/per_sample/sample_recording.h"
#include "gradwise/autograd/per_sample/sample_sums.h"
#include "gradwise/core/buffer_state.h"
#include "gradwise/core/error.h"
#include "gradwise/core/random_state.h"

namespace gradwise {
namespace {

struct StateGuard {
  StateGuard(const Model& model, const at::Tensor& input)
      : random(input.defined() ? input.device() : at::Device(at::kCPU)), buffers(model.buffers) {}
  RandomStateGuard random;
  BufferStateGuard buffers;
};

// Of the sum of the squared norms, the part that is sure to be more than rounding, for gradients of these types.
double least_sound_share(const std::vector<at::Tensor>& gradients) {
  double share = 0;
  for (const at::Tensor& gradient : gradients) {
    const at::ScalarType type = gradient.scalar_type();
    share = std::max(share, type == at::kDouble ? 1e-10 : type == at::kFloat ? 1e-3 : 0.1);
  }
  return share;
}

}  // namespace

PerSampleGradients::PerSampleGradients(Model model, LossFunction loss_function)
    : recorder_(std::make_unique<SampleRecorder>(std::move(model), std::move(loss_function))) {}
PerSampleGradients::~PerSampleGradients() = default;
PerSampleGradients::PerSampleGradients(PerSampleGradients&&) noexcept = default;
PerSampleGradients& PerSampleGradients::operator=(PerSampleGradients&&) noexcept = default;

const NamedParameters& PerSampleGradients::parameters() const { return recorder_->parameters(); }
const std::string& PerSampleGradients::loop_reason() const { return recorder_->loop_reason(); }

NamedParameters PerSampleGradients::named(std::vector<at::Tensor> tensors) const {
  return {parameters().names, std::move(tensors)};
}

std::vector<at::Tensor> PerSampleGradients::places(std::int64_t samples) {
  std::vector<at::Tensor> found;
  for (std::size_t i = 0; i < parameters().size(); ++i) {
    found.push_back(recorder_->place(SampleRecorder::Place::result, i, samples));
  }
  return found;
}

NamedParameters PerSampleGradients::gradients(const at::Tensor& input, const at::Tensor& target) {
  const StateGuard state(recorder_->model(), input);
  const RecordedSamples batch = recorder_->record(input, target);
  std::vector<at::Tensor> written = places(batch.samples);
  recorder_->write(batch, 0, written);
  return named(std::move(written));
}

SampleNorms PerSampleGradients::norms(const at::Tensor& input, const at::Tensor& target) {
  const StateGuard state(recorder_->model(), input);
  return norms_of(recorder_->record(input, target));
}

SampleNorms PerSampleGradients::norms_of(const RecordedSamples& batch) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> squares(parameters().size());
  std::vector<bool> wanted(parameters().size(), true);
  for (std::size_t i = 0; i < squares.size(); ++i) {
    if (batch.by_rules && batch.terms[i].size() == 1) {
      squares[i] = squared_norms(batch.terms[i][0].term, recorder_->memory());
      wanted[i] = false;
    }
  }
  if (std::ranges::any_of(wanted, [](bool is) { return is; })) {
    const std::vector<at::Tensor> by_blocks = norms_by_blocks(batch, wanted);
    for (std::size_t i = 0; i < squares.size(); ++i) {
      squares[i] = wanted[i] ? by_blocks[i] : squares[i];
    }
  }
  SampleNorms found;
  at::Tensor total = squares[0];
  for (std::size_t i = 1; i < squares.size(); ++i) {
    total = total + squares[i];
  }
  found.norms = total.clamp_min(0).sqrt();
  for (const at::Tensor& square : squares) {
    found.parameter_norms.push_back(square.clamp_min(0).sqrt());  // a Gram form rounds below 0
  }
  return found;
}

std::vector<at::Tensor> PerSampleGradients::norms_by_blocks(const RecordedSamples& batch,
                                                            const std::vector<bool>& wanted) {
  std::int64_t elements = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    elements += wanted[i] ? parameters().tensors[i].numel() : 0;
  }
  const std::int64_t step = samples_in_block(elements);
  std::vector<std::vector<at::Tensor>> parts(wanted.size());
  for (std::int64_t first = 0; first < batch.samples; first += step) {
    const std::int64_t count = std::min(step, batch.samples - first);
    std::vector<at::Tensor> block(wanted.size());
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      if (wanted[i]) {
        block[i] = recorder_->place(SampleRecorder::Place::block, i, count);
      }
    }
    recorder_->write(batch, first, block);
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      if (wanted[i]) {
        parts[i].push_back(squared_norms_of(block[i]));
      }
    }
  }
  std::vector<at::Tensor> found(wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    found[i] = wanted[i] ? at::cat(parts[i]) : at::Tensor();
  }
  return found;
}

at::Tensor PerSampleGradients::inner_products(const at::Tensor& input, const at::Tensor& target) {
  const StateGuard state(recorder_->model(), input);
  const RecordedSamples batch = recorder_->record(input, target);
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> written = places(batch.samples);
  at::Tensor products;
  for (std::size_t i = 0; i < written.size(); ++i) {
    written[i] = outer_product(batch, i) != nullptr ? at::Tensor() : written[i];
  }
  recorder_->write(batch, 0, written);
  const WithoutAutocast own_type;
  for (std::size_t i = 0; i < written.size(); ++i) {
    at::Tensor product;
    if (const FactoredTerm* term = outer_product(batch, i)) {
      const at::ScalarType type = parameters().tensors[i].scalar_type();  // under autocast the term's is a smaller one
      const at::Tensor left = term->left.flatten(1).to(type);
      const at::Tensor right = term->right.flatten(1).to(type);
      product = at::mm(left, left.t()) * at::mm(right, right.t());
    } else {
      const at::Tensor rows = written[i].reshape({batch.samples, -1});
      product = at::mm(rows, rows.t());
    }
    products = products.defined() ? products + product : product;
  }
  return products;
}

SampleMoments PerSampleGradients::moments(const at::Tensor& input, const at::Tensor& target) {
  const StateGuard state(recorder_->model(), input);
  const RecordedSamples batch = recorder_->record(input, target);
  SampleSums sums = sums_over_samples(*recorder_, batch);
  const auto n = static_cast<double>(batch.samples);
  std::vector<at::Tensor> ratios;
  for (std::size_t i = 0; i < sums.gradients.size(); ++i) {
    const at::ScalarType type = parameters().tensors[i].scalar_type();
    const at::Tensor mean = sums.gradients[i].div_(n);
    const at::Tensor second_moment = sums.squares[i].div_(n);
    const at::Tensor signal = mean.square();
    ratios.push_back((signal / (second_moment - signal).clamp_min(0).mul(n / (n - 1))).to(type));
    sums.gradients[i] = mean.to(type);
    sums.squares[i] = second_moment.to(type);
  }
  return {named(std::move(sums.gradients)), named(std::move(sums.squares)), named(std::move(ratios))};
}

PerSampleGradients::WeightedSum PerSampleGradients::weighted_sum(const at::Tensor& input, const at::Tensor& target,
                                                                 const Weigh& weigh) {
  const StateGuard state(recorder_->model(), input);
  const RecordedSamples batch = recorder_->record(input, target);
  WeightedSum sum;
  if (batch.by_rules) {
    sum.norms = norms_of(batch).norms;
    const at::Tensor weights = weigh(sum.norms).to(batch.losses.scalar_type());
    auto found = torch::autograd::grad({batch.losses}, parameters().tensors, {weights}, /*retain_graph=*/false,
                                       /*create_graph=*/false, /*allow_unused=*/true);
    for (at::Tensor& gradient : found) {
      gradient = gradient.defined() && gradient.is_sparse() ? gradient.to_dense() : gradient;
    }
    sum.gradients = filled_with_zeros(std::move(found), parameters().tensors);
    return sum;
  }
  std::vector<at::Tensor> norms;
  for (const at::Tensor& parameter : parameters().tensors) {
    sum.gradients.push_back(at::zeros_like(parameter.detach()));
  }
  const std::int64_t step = recorder_->samples_at_once();
  for (std::int64_t first = 0; first < batch.samples; first += step) {
    std::vector<at::Tensor> block;
    for (std::size_t i = 0; i < parameters().size(); ++i) {
      block.push_back(recorder_->place(SampleRecorder::Place::block, i, std::min(step, batch.samples - first)));
    }
    recorder_->write(batch, first, block);
    const at::NoGradGuard no_grad;
    const WithoutAutocast own_type;
    at::Tensor square = squared_norms_of(block[0]);
    for (std::size_t i = 1; i < block.size(); ++i) {
      square = square + squared_norms_of(block[i]);
    }
    norms.push_back(square.sqrt());
    const at::Tensor weights = weigh(norms.back());
    for (std::size_t i = 0; i < block.size(); ++i) {
      sum.gradients[i].add_(at::tensordot(weights.to(block[i].scalar_type()), block[i], {0}, {0}));
    }
  }
  sum.norms = at::cat(norms);
  return sum;
}

ClippedGradient PerSampleGradients::clipped_gradient(const at::Tensor& input, const at::Tensor& target,
                                                     double max_norm) {
  GRADWISE_CHECK(max_norm > 0, "per sample", "max_norm is ", max_norm, ", allowed: > 0");
  WeightedSum sum = weighted_sum(
      input, target, [max_norm](const at::Tensor& norms) { return (max_norm / (norms + 1e-6)).clamp_max(1); });
  return {named(std::move(sum.gradients)), std::move(sum.norms)};
}

std::pair<double, double> PerSampleGradients::summed_variance(const at::Tensor& input, const at::Tensor& target) {
  const StateGuard state(recorder_->model(), input);
  const RecordedSamples batch = recorder_->record(input, target);
  const SampleSums sums = sums_over_samples(*recorder_, batch);
  const auto n = static_cast<double>(batch.samples);
  double variance = 0;
  double mean_norm = 0;
  for (std::size_t i = 0; i < sums.gradients.size(); ++i) {
    const at::Tensor signal = sums.gradients[i].div(n).square();
    variance += (sums.squares[i].div(n) - signal).clamp_min(0).sum().item<double>() * n / (n - 1);
    mean_norm += signal.sum().item<double>();
  }
  return {variance, mean_norm};
}

SampleNoise PerSampleGradients::noise_scale(const at::Tensor& input, const at::Tensor& target) {
  GRADWISE_CHECK(input.defined() && input.dim() > 0 && input.size(0) > 1, "per sample",
                 "the noise scale needs two samples at least");
  const auto n = static_cast<double>(input.size(0));
  SampleNoise noise;
  double mean_norm = 0;
  {
    const WeightedSum sum =
        weighted_sum(input, target, [n](const at::Tensor& norms) { return at::full_like(norms, 1 / n); });
    for (const at::Tensor& gradient : sum.gradients) {
      mean_norm += gradient.to(at::kDouble).square().sum().item<double>();
    }
    const double squares = sum.norms.to(at::kDouble).square().sum().item<double>();
    noise.variance = (squares - n * mean_norm) / (n - 1);
    // Rounding in norms and mean may be most of a small difference; a comparison with NaN is false.
    if (noise.variance * (n - 1) < least_sound_share(sum.gradients) * squares) {
      std::tie(noise.variance, mean_norm) = summed_variance(input, target);
    }
  }
  noise.squared_norm = mean_norm - noise.variance / n;
  noise.noise_scale =
      noise.squared_norm > 0 ? noise.variance / noise.squared_norm : std::numeric_limits<double>::quiet_NaN();
  return noise;
}

}  // namespace gradwise
