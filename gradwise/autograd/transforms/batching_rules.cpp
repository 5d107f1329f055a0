#include "gradwise/autograd/transforms/batching_rules.h"

#include <ATen/core/Reduction.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/scatter.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include <optional>
#include <tuple>
#include <utility>
#include <vector>

namespace gradwise::detail {
namespace {

// Logits without a batch have one dimension, of the classes; else they are dimension 1.
std::int64_t class_dimension(const at::Tensor& logits) { return logits.dim() < 2 ? 0 : 1; }

// Weights of the classes, (classes), to multiply logits by.
at::Tensor along_classes(const at::Tensor& weight, const at::Tensor& logits) {
  std::vector<std::int64_t> shape(static_cast<std::size_t>(logits.dim()), 1);
  shape[static_cast<std::size_t>(class_dimension(logits))] = weight.size(0);
  return weight.reshape(shape);
}

// The targets as indices into the dimension of the classes, and which of them count: the others are 0.
struct Targets {
  at::Tensor indices;
  at::Tensor count;

  Targets(const at::Tensor& target, std::int64_t dimension, std::int64_t ignore_index)
      : count(target.ne(ignore_index)) {
    indices = at::where(count, target, 0).unsqueeze(dimension);
  }
};

// Like torch/_decomp/decompositions.py, _nll_loss_forward: by operators that have rules. The dispatcher wants this very
// signature.
// NOLINTNEXTLINE(performance-unnecessary-value-param)
std::tuple<at::Tensor, at::Tensor> nll_loss_forward(const at::Tensor& logits, const at::Tensor& target,
                                                    const std::optional<at::Tensor>& weight, std::int64_t reduction,
                                                    c10::SymInt ignore_index) {
  const std::int64_t dimension = class_dimension(logits);
  const Targets targets(target, dimension, ignore_index.expect_int());
  const auto of_target = [&targets, dimension](const at::Tensor& of_classes) {
    const at::Tensor found = at::gather(of_classes, dimension, targets.indices).squeeze(dimension);
    return at::where(targets.count, found, 0);
  };
  const bool weighted = weight.has_value() && weight->defined();
  at::Tensor losses = of_target(logits).neg();
  at::Tensor weights;
  if (weighted) {
    weights = of_target(along_classes(*weight, logits).expand_as(logits));
    losses = losses.mul(weights);
  }
  if (reduction == at::Reduction::None && logits.dim() > 1) {
    return {losses, at::zeros({}, logits.options())};
  }
  const at::Tensor total = weighted ? weights.sum() : targets.count.sum().to(logits.scalar_type());
  if (reduction == at::Reduction::None) {
    return {losses, total};
  }
  return {reduction == at::Reduction::Sum ? losses.sum() : losses.sum().div(total), total};
}

// Like nll_loss_backward there.
// NOLINTNEXTLINE(performance-unnecessary-value-param)
at::Tensor nll_loss_backward(const at::Tensor& gradient, const at::Tensor& logits, const at::Tensor& target,
                             const std::optional<at::Tensor>& weight, std::int64_t reduction, c10::SymInt ignore_index,
                             const at::Tensor& total) {
  const std::int64_t dimension = class_dimension(logits);
  const Targets targets(target, dimension, ignore_index.expect_int());
  at::Tensor arriving = reduction == at::Reduction::Mean ? gradient.div(total) : gradient;
  if (arriving.dim() > 0 && arriving.dim() < logits.dim()) {
    arriving = arriving.unsqueeze(dimension);
  }
  arriving = at::where(targets.count.unsqueeze(dimension), arriving, 0);
  if (weight.has_value() && weight->defined()) {
    arriving = arriving.mul(along_classes(*weight, logits));
  }
  return at::scatter(at::zeros_like(logits), dimension, targets.indices, -1).mul(arriving);
}

// Lives as long as the process: LibTorch forgets the rules with it.
void give_rules() {
  static torch::Library* const rules = [] {
    auto* library =
        new torch::Library(torch::Library::IMPL, "aten", c10::DispatchKey::FuncTorchBatched, __FILE__, __LINE__);
    library->impl("nll_loss_forward", &nll_loss_forward);
    library->impl("nll_loss2d_forward", &nll_loss_forward);
    library->impl("nll_loss_backward", &nll_loss_backward);
    library->impl("nll_loss2d_backward", &nll_loss_backward);
    return library;
  }();
  (void)rules;
}

std::function<void()>& loader_of_rules() {
  static std::function<void()> loader = &give_rules;
  return loader;
}

}  // namespace

void load_batching_rules() { loader_of_rules()(); }

void load_batching_rules_by(std::function<void()> loader) { loader_of_rules() = std::move(loader); }

}  // namespace gradwise::detail
