#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

/// The examples of `gradwise.autograd_examples` in Python: the same names, and the same figures, for both draw the same
/// numbers. `checked` says that gradients of first and second order agree with central differences.

struct CustomRelu {
  at::Tensor input;
  at::Tensor output;
  bool checked = false;
};

struct CustomHuberLoss {
  double loss = 0;
  bool checked = false;
};

struct CustomLinear {
  at::Tensor output;
  bool checked = false;
};

struct CustomActivationInAModel {
  double first_loss = 0;
  double last_loss = 0;
  double accuracy = 0;
  bool checked = false;
};

/// Functions with a backward of their own.
class CustomAutogradExample {
 public:
  [[nodiscard]] static CustomRelu custom_relu();
  [[nodiscard]] static CustomHuberLoss custom_huber_loss(double delta = 1.0);
  [[nodiscard]] static CustomLinear custom_linear(bool bias = true);
  /// A leaky activation inside a model that is trained.
  [[nodiscard]] static CustomActivationInAModel custom_activation_in_a_model(int steps = 100);
};

struct BasicTraining {
  std::vector<double> losses;  ///< the mean of each epoch
  double validation_loss = 0;
  double accuracy = 0;
};

struct GradientAccumulation {
  double largest_difference = 0;
};

class AutogradTrainingExamples {
 public:
  /// A loop over epochs with validation.
  [[nodiscard]] static BasicTraining basic_training(int epochs = 5);
  /// The same step by one large batch and by several small ones; how far the weights are apart after it.
  [[nodiscard]] static GradientAccumulation gradient_accumulation(std::int64_t micro_batches = 4);
};

struct SecondOrder {
  at::Tensor first;
  at::Tensor second;
  at::Tensor expected;
};

struct GradientCheckpointing {
  std::int64_t peak_bytes = 0;
  std::int64_t peak_bytes_checkpointed = 0;
  bool equal_gradients = false;
};

class AutogradAdvancedExamples {
 public:
  /// The gradient of a gradient: x³ has the second derivative 6x.
  [[nodiscard]] static SecondOrder second_order();
  /// A deep network trained with and without checkpointing: the gradients, and the peak memory of each.
  [[nodiscard]] static GradientCheckpointing gradient_checkpointing(int blocks = 24, std::int64_t width = 256,
                                                                    std::int64_t batch = 512);
};
