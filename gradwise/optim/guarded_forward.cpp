#include "gradwise/optim/guarded_forward.h"

#include <c10/util/Exception.h>

#include <sstream>
#include <string>

#include "gradwise/core/error.h"

namespace gradwise {
namespace {

std::string shape_of(const at::Tensor& tensor) {
  if (!tensor.defined()) {
    return "(none)";
  }
  std::ostringstream text;
  text << tensor.sizes() << ' ' << tensor.scalar_type();
  return text.str();
}

std::string first_line(const c10::Error& error) {
  const std::string text = error.what_without_backtrace();
  return text.substr(0, text.find('\n'));
}

}  // namespace

at::Tensor guarded_forward(const Model& model, const Batch& batch) {
  try {
    return model.forward(batch);
  } catch (const c10::Error& error) {
    fail_usage("model", "the forward pass fails for an input of shape ", shape_of(batch.input), ": ",
               first_line(error));
  }
}

at::Tensor guarded_loss(const LossFunction& loss_function, const at::Tensor& output, const at::Tensor& target) {
  at::Tensor loss;
  try {
    loss = loss_function(output, target);
  } catch (const c10::Error& error) {
    fail_usage("loss", "the model's output ", shape_of(output), " and the target ", shape_of(target),
               " do not fit the loss: ", first_line(error));
  }
  GRADWISE_CHECK(loss.defined() && loss.numel() == 1, "loss", "the loss has shape ", shape_of(loss),
                 ", allowed: a scalar (take its mean over the samples)");
  return loss;
}

}  // namespace gradwise
