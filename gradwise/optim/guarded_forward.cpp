#include "gradwise/optim/guarded_forward.h"

#include <c10/util/Exception.h>

#include <exception>
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

// c10's errors begin with what happened; TorchScript's end with it, after a traceback.
std::string told_by(const std::exception& error) {
  if (const auto* torch_error = dynamic_cast<const c10::Error*>(&error)) {
    const std::string text = torch_error->what_without_backtrace();
    return text.substr(0, text.find('\n'));
  }
  std::string text = error.what();
  text.erase(text.find_last_not_of('\n') + 1);
  const std::size_t last = text.rfind('\n');
  return last == std::string::npos ? text : text.substr(last + 1);
}

}  // namespace

at::Tensor guarded_forward(const Model& model, const Batch& batch) {
  try {
    return model.forward(batch);
  } catch (const Error&) {
    throw;
  } catch (const ForeignException&) {
    throw;
  } catch (const std::exception& error) {
    fail_usage("model", "the forward pass fails for an input of shape ", shape_of(batch.input), ": ", told_by(error));
  }
}

at::Tensor guarded_loss(const LossFunction& loss_function, const at::Tensor& output, const at::Tensor& target) {
  at::Tensor loss;
  try {
    loss = loss_function(output, target);
  } catch (const Error&) {
    throw;
  } catch (const ForeignException&) {
    throw;
  } catch (const std::exception& error) {
    fail_usage("loss", "the model's output ", shape_of(output), " and the target ", shape_of(target),
               " do not fit the loss: ", told_by(error));
  }
  GRADWISE_CHECK(loss.defined() && loss.numel() == 1, "loss", "the loss has shape ", shape_of(loss),
                 ", allowed: a scalar (take its mean over the samples)");
  return loss;
}

}  // namespace gradwise
