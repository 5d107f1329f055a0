#include "gradwise/autograd/per_sample/sample_sums.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

namespace gradwise {
namespace {

void add_block(SampleRecorder& recorder, const RecordedSamples& batch, std::int64_t first, std::int64_t count,
               SampleSums& sums) {
  std::vector<at::Tensor> block(sums.gradients.size());
  for (std::size_t i = 0; i < block.size(); ++i) {
    if (outer_product(batch, i) == nullptr) {
      block[i] = recorder.place(SampleRecorder::Place::block, i, count);
    }
  }
  recorder.write(batch, first, block);
  for (std::size_t i = 0; i < block.size(); ++i) {
    if (block[i].defined()) {
      sums.gradients[i].add_(block[i].sum(at::IntArrayRef({0}), /*keepdim=*/false, at::kDouble));
      sums.squares[i].add_(
          at::linalg_vector_norm(block[i], 2, at::IntArrayRef({0}), /*keepdim=*/false, at::kDouble).square_());
    }
  }
}

}  // namespace

SampleSums sums_over_samples(SampleRecorder& recorder, const RecordedSamples& batch) {
  const at::NoGradGuard no_grad;
  SampleSums sums;
  std::int64_t elements = 0;  // of a sample's gradients that are made
  for (std::size_t i = 0; i < recorder.parameters().size(); ++i) {
    const at::Tensor& parameter = recorder.parameters().tensors[i];
    const at::TensorOptions options = parameter.options().dtype(at::kDouble).requires_grad(false);
    sums.gradients.push_back(at::zeros(parameter.sizes(), options));
    sums.squares.push_back(at::zeros(parameter.sizes(), options));
    if (const FactoredTerm* term = outer_product(batch, i)) {
      const WithoutAutocast own_type;
      const at::Tensor left = term->left.flatten(1).t().to(options.dtype());
      const at::Tensor right = term->right.flatten(1).to(options.dtype());
      const ParameterUse& use = batch.terms[i][0].use;
      place_of(use, sums.gradients[i].unsqueeze(0))[0].copy_(at::mm(left, right));
      place_of(use, sums.squares[i].unsqueeze(0))[0].copy_(at::mm(left.square(), right.square()));
    } else {
      elements += parameter.numel();
    }
  }
  if (elements > 0) {
    const std::int64_t step = samples_in_block(elements);
    for (std::int64_t first = 0; first < batch.samples; first += step) {
      add_block(recorder, batch, first, std::min(step, batch.samples - first), sums);
    }
  }
  return sums;
}

}  // namespace gradwise
