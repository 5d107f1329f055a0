#include "gradwise/train/losses.h"

#include <ATen/ops/binary_cross_entropy_with_logits.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/huber_loss.h>
#include <ATen/ops/l1_loss.h>
#include <ATen/ops/mse_loss.h>

#include "gradwise/core/error.h"
#include "gradwise/core/nearest_name.h"

namespace gradwise {
namespace {

using ElementLoss = at::Tensor (*)(const at::Tensor&, const at::Tensor&);

// A target (B) against an output (B, 1) would broadcast to (B, B) without an error.
at::Tensor aligned(const at::Tensor& output, const at::Tensor& target) {
  const at::Tensor shaped = target.dim() + 1 == output.dim() && output.size(-1) == 1 ? target.unsqueeze(-1) : target;
  GRADWISE_CHECK(shaped.sizes() == output.sizes(), "loss", "the model's output has shape ", output.sizes(),
                 ", the target ", target.sizes(), ", allowed: the same shape");
  return shaped.to(output.scalar_type());
}

LossFunction element_loss(ElementLoss loss) {
  return [loss](const at::Tensor& output, const at::Tensor& target) { return loss(output, aligned(output, target)); };
}

LossFunction cross_entropy(double label_smoothing) {
  return [label_smoothing](const at::Tensor& output, const at::Tensor& target) {
    const at::Tensor classes = target.is_floating_point() ? target : target.to(at::kLong);
    return at::cross_entropy_loss(output, classes, {}, /*reduction=*/1, /*ignore_index=*/-100, label_smoothing);
  };
}

}  // namespace

const std::vector<std::string>& loss_names() {
  static const std::vector<std::string> names{"cross_entropy", "mse", "mae", "huber", "binary_cross_entropy"};
  return names;
}

LossFunction make_loss(const std::string& name, double label_smoothing) {
  GRADWISE_CHECK(label_smoothing >= 0 && label_smoothing <= 1, "loss", "label_smoothing is ", label_smoothing,
                 ", allowed: from 0 to 1");
  if (name == "cross_entropy") {
    return cross_entropy(label_smoothing);
  }
  if (name == "mse") {
    return element_loss([](const at::Tensor& y, const at::Tensor& t) { return at::mse_loss(y, t); });
  }
  if (name == "mae") {
    return element_loss([](const at::Tensor& y, const at::Tensor& t) { return at::l1_loss(y, t); });
  }
  if (name == "huber") {
    return element_loss([](const at::Tensor& y, const at::Tensor& t) { return at::huber_loss(y, t); });
  }
  if (name == "binary_cross_entropy") {
    return element_loss(
        [](const at::Tensor& y, const at::Tensor& t) { return at::binary_cross_entropy_with_logits(y, t); });
  }
  fail_usage("loss", "unknown loss \"", name, "\", allowed: cross_entropy, mse, mae, huber, binary_cross_entropy",
             did_you_mean(name, loss_names()));
}

}  // namespace gradwise
