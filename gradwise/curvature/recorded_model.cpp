#include "gradwise/curvature/recorded_model.h"

#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>

#include <exception>
#include <string_view>
#include <utility>

#include "gradwise/autograd/functions/differentiable_gradients.h"
#include "gradwise/autograd/functions/gradients.h"
#include "gradwise/core/error.h"

namespace gradwise {
namespace {

// An Error where LibTorch says that it has no formula.
void check_has_derivative(const char* place, std::string_view message) {
  GRADWISE_CHECK(message.find("is not implemented") == std::string_view::npos, place,
                 "an operator of the model or the loss can't be differentiated as often as this takes: ", message);
}

}  // namespace

at::Tensor checked_loss(const char* place, const LossFunction& loss_function, const at::Tensor& output,
                        const at::Tensor& target_data, const char* source) {
  const at::AutoGradMode grad_mode(true);
  at::Tensor loss = loss_function(output, target_data);
  GRADWISE_CHECK(loss.numel() == 1, place, "the loss has ", loss.numel(), " elements, allowed: one");
  GRADWISE_CHECK(loss.requires_grad(), place, "the loss does not depend on ", source);
  return loss;
}

std::vector<at::Tensor> kept_gradients(const char* place, const at::Tensor& output,
                                       const std::vector<at::Tensor>& inputs, const at::Tensor& weight,
                                       bool create_graph) {
  try {
    std::vector<at::Tensor> gradients = differentiable_gradients({output}, inputs, {weight}, create_graph);
    if (create_graph) {
      check_goes_on(place, gradients);
    }
    return filled_with_zeros(std::move(gradients), inputs);
  } catch (const Error&) {
    throw;
  } catch (const c10::Error& error) {
    check_has_derivative(place, error.what_without_backtrace());
    throw;
  } catch (const std::exception& error) {
    check_has_derivative(place, error.what());
    throw;
  }
}

}  // namespace gradwise
