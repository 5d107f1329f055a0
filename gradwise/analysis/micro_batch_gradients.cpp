#include "gradwise/analysis/micro_batch_gradients.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/autograd.h>

#include <utility>

#include "gradwise/core/buffer_state.h"
#include "gradwise/core/error.h"
#include "gradwise/core/random_state.h"

namespace gradwise {
namespace {

at::Tensor part_of(const at::Tensor& tensor, std::int64_t first, std::int64_t length) {
  return tensor.defined() && tensor.dim() > 0 ? tensor.narrow(0, first, length) : tensor;
}

}  // namespace

GradientSource::GradientSource(const Model& model, LossFunction loss_function)
    : model_(model), loss_function_(std::move(loss_function)) {
  model.parameters.check_names("analysis");
  model.parameters.check_types("analysis");
  for (std::size_t i = 0; i < model.parameters.size(); ++i) {
    if (model.parameters.tensors[i].requires_grad()) {
      parameters_.add(model.parameters.names[i], model.parameters.tensors[i]);
    }
  }
  GRADWISE_CHECK(parameters_.size() > 0, "analysis", "no parameter of the model asks for a gradient");
}

BatchGradient GradientSource::of(const Batch& batch, const std::function<void(const at::Tensor&)>& keep) const {
  GRADWISE_CHECK(batch.input.defined() && batch.input.numel() > 0, "analysis", "the batch is empty");
  const BufferStateGuard buffers(model_.buffers);
  const RandomStateGuard random(batch.input.device());
  const at::AutoGradMode grad_mode(true);
  const at::Tensor loss = loss_function_(model_.forward(batch), batch.target);
  GRADWISE_CHECK(loss.numel() == 1, "analysis", "the loss has the shape ", loss.sizes(), ", allowed: a scalar");
  GRADWISE_CHECK(loss.requires_grad(), "analysis",
                 "the loss has no graph: it does not depend on any parameter that asks for a gradient");
  if (keep) {
    keep(loss);
  }
  const auto gradients = torch::autograd::grad({loss}, parameters_.tensors, {}, /*retain_graph=*/false,
                                               /*create_graph=*/false, /*allow_unused=*/true);
  BatchGradient result;
  result.loss = loss.item<double>();
  std::vector<at::Tensor> pieces;
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    result.missing.push_back(!gradients[i].defined());
    const at::Tensor& like = parameters_.tensors[i];
    const at::Tensor dense = !gradients[i].defined()    ? at::zeros_like(like.detach())
                             : gradients[i].is_sparse() ? gradients[i].to_dense()
                                                        : gradients[i];
    pieces.push_back(dense.reshape({-1}).to(at::kFloat));
  }
  result.gradient = at::cat(pieces);
  return result;
}

at::Tensor GradientSource::of_parts(const Batch& batch, std::int64_t count) const {
  const std::int64_t length = batch.size() / count;
  GRADWISE_CHECK(length >= 1, "analysis", "the batch has ", batch.size(), " samples, fewer than micro_batches (", count,
                 ")");
  std::vector<at::Tensor> rows;
  for (std::int64_t i = 0; i < count; ++i) {
    Batch part{part_of(batch.input, i * length, length), part_of(batch.target, i * length, length), {}};
    for (const at::Tensor& extra : batch.extra) {
      part.extra.push_back(part_of(extra, i * length, length));
    }
    rows.push_back(of(part).gradient);
  }
  return at::stack(rows);
}

}  // namespace gradwise
