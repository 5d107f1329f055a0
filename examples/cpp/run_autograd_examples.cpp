// Runs the examples of autograd_examples.h and checks what they show.
//
//   autograd_examples            says what holds
//   autograd_examples --json     the figures alone, by example
#include <ATen/core/Tensor.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "examples/cpp/autograd_examples.h"
#include "examples/cpp/proof.h"

namespace {

using nlohmann::json;

std::vector<double> numbers(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.detach().to(at::kDouble).contiguous();
  return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

void print_figures() {
  const CustomRelu relu = CustomAutogradExample::custom_relu();
  const CustomHuberLoss huber = CustomAutogradExample::custom_huber_loss();
  const CustomLinear linear = CustomAutogradExample::custom_linear();
  const CustomActivationInAModel model = CustomAutogradExample::custom_activation_in_a_model();
  const BasicTraining basic = AutogradTrainingExamples::basic_training();
  const GradientAccumulation parts = AutogradTrainingExamples::gradient_accumulation();
  const SecondOrder second = AutogradAdvancedExamples::second_order();
  const GradientCheckpointing memory = AutogradAdvancedExamples::gradient_checkpointing();
  const json figures{
      {"custom_relu", {{"input", numbers(relu.input)}, {"output", numbers(relu.output)}, {"checked", relu.checked}}},
      {"custom_huber_loss", {{"loss", huber.loss}, {"checked", huber.checked}}},
      {"custom_linear", {{"output", numbers(linear.output)}, {"checked", linear.checked}}},
      {"custom_activation_in_a_model",
       {{"first_loss", model.first_loss},
        {"last_loss", model.last_loss},
        {"accuracy", model.accuracy},
        {"checked", model.checked}}},
      {"basic_training",
       {{"losses", basic.losses}, {"validation_loss", basic.validation_loss}, {"accuracy", basic.accuracy}}},
      {"gradient_accumulation", {{"largest_difference", parts.largest_difference}}},
      {"second_order",
       {{"first", numbers(second.first)}, {"second", numbers(second.second)}, {"expected", numbers(second.expected)}}},
      {"gradient_checkpointing",
       {{"peak_bytes", memory.peak_bytes},
        {"peak_bytes_checkpointed", memory.peak_bytes_checkpointed},
        {"equal_gradients", memory.equal_gradients}}}};
  std::printf("%s\n", figures.dump(2).c_str());
}

void check_custom_functions(Proof& proof) {
  proof.holds("custom ReLU: gradients of both orders", CustomAutogradExample::custom_relu().checked);
  const CustomHuberLoss huber = CustomAutogradExample::custom_huber_loss();
  proof.equal("custom Huber loss", huber.loss, (0.02 + 2.0 + 2.5) / 3, 1e-6);
  proof.holds("custom Huber loss: gradients of both orders", huber.checked);
  proof.holds("custom linear layer: gradients of both orders", CustomAutogradExample::custom_linear().checked);
  proof.holds("the same without bias", CustomAutogradExample::custom_linear(false).checked);
  const CustomActivationInAModel model = CustomAutogradExample::custom_activation_in_a_model();
  proof.holds("custom leaky activation: gradients of both orders", model.checked);
  proof.below("loss of a model with it after training", model.last_loss, 0.5 * model.first_loss);
}

void check_training(Proof& proof) {
  const BasicTraining basic = AutogradTrainingExamples::basic_training();
  proof.below("basic training: loss of the last epoch", basic.losses.back(), basic.losses.front());
  proof.above("accuracy on points that were held out", basic.accuracy, 0.85);
  proof.below("accumulation: weights apart from those of one large batch",
              AutogradTrainingExamples::gradient_accumulation().largest_difference, 1e-6);
}

void check_advanced(Proof& proof) {
  const SecondOrder second = AutogradAdvancedExamples::second_order();
  proof.holds("second order: 6x", second.second.equal(second.expected));
  const GradientCheckpointing memory = AutogradAdvancedExamples::gradient_checkpointing();
  proof.holds("checkpointing: the same gradients to the bit", memory.equal_gradients);
  proof.below("peak memory with it, in MB", static_cast<double>(memory.peak_bytes_checkpointed) / 1e6,
              0.7 * static_cast<double>(memory.peak_bytes) / 1e6);
}

}  // namespace

int main(int count, char** arguments) {
  if (count > 1 && std::string_view(arguments[1]) == "--json") {
    print_figures();
    return 0;
  }
  Proof proof("Custom functions, training, second order and checkpointing");
  check_custom_functions(proof);
  check_training(proof);
  check_advanced(proof);
  return proof.exit_code();
}
