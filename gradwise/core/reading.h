#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gradwise/core/step_info.h"

namespace gradwise {

/// Counts of a tensor's elements by sign and power of two: bins 0 to 31 hold the negative, 32 to 63 the positive ones;
/// within each half, bin b holds 2^(b-26) <= |x| < 2^(b-25), the first everything below, the last everything above.
using MagnitudeHistogram = std::array<std::int64_t, 64>;

/// Sums over a parameter's weights after an update, and over the update.
struct WeightMoments {
  std::int64_t count = 0;
  double sum = 0;
  double sum_squares = 0;
  double max_abs = 0;
  double update_squares = 0;  ///< sum of (new - old)^2
  double squares_before = 0;  ///< sum of old^2

  void merge(const WeightMoments& other) {
    count += other.count;
    sum += other.sum;
    sum_squares += other.sum_squares;
    max_abs = max_abs < other.max_abs ? other.max_abs : max_abs;
    update_squares += other.update_squares;
    squares_before += other.squares_before;
  }
};

/// What one optimizer step showed of one parameter; NaN (`kNotMeasured`): not measured. Between two readings of the
/// gradients, or of the weights, figures are those of the one before. The gradient is that of the whole step, unscaled,
/// before clipping; its figures are of the finite elements.
/// Of a frozen parameter nothing is measured.
struct ParameterReading {
  bool missing = false;                 ///< no backward pass reached it in this step
  double grad_norm = kNotMeasured;      ///< L2
  double grad_mean_abs = kNotMeasured;  ///< L1 over the number of elements
  double grad_max = kNotMeasured;       ///< largest magnitude
  double grad_min_value = kNotMeasured;
  double grad_max_value = kNotMeasured;
  double grad_mean = kNotMeasured;
  double grad_variance = kNotMeasured;  ///< of the population
  double grad_zeros = kNotMeasured;     ///< share of the elements, 0 to 1
  std::int64_t grad_nans = 0;
  std::int64_t grad_infs = 0;
  double grad_cosine = kNotMeasured;  ///< with the gradient of the reading before
  double weight_norm = kNotMeasured;  ///< L2, after the update
  double weight_mean = kNotMeasured;
  double weight_variance = kNotMeasured;
  double weight_max = kNotMeasured;  ///< largest magnitude
  double update_norm = kNotMeasured;
  double update_ratio = kNotMeasured;  ///< update norm over the weights' norm before the update
  bool grad_fresh = false;  ///< the gradient was added to none of an earlier step; false where that is not known
};

/// An operator's output that autograd has kept: the health of an activation. NaN: the operator has no such figure.
struct ActivationReading {
  std::string layer;  ///< the module whose parameters made its input, as "features.3"; "" where there is none
  std::string op;     ///< "relu", "leaky_relu", "elu", "gelu", "silu", "sigmoid", "tanh", "softmax", "log_softmax"
  std::int64_t elements = 0;
  double zeros = kNotMeasured;      ///< relu: share of the outputs that are 0
  double dead = kNotMeasured;       ///< relu: share of the units (channels) that no sample of the batch makes active
  double saturated = kNotMeasured;  ///< share of the outputs where the slope is below 1 % of its greatest
  double nonfinite = kNotMeasured;  ///< share of the outputs
  double mean = kNotMeasured;
  double variance = kNotMeasured;
  double grad_norm = kNotMeasured;  ///< L2 of the loss's gradient with respect to the output
};

/// A batch norm, as it ran in this step.
struct BatchNormReading {
  std::string layer;
  bool training = true;                  ///< false: it normalised by the running statistics
  double mean_gap = kNotMeasured;        ///< mean over channels of |running mean - batch mean| / batch deviation
  double variance_ratio = kNotMeasured;  ///< median over channels of running over batch variance
};

/// The data of one step's last micro-batch and what the model made of them.
struct BatchReading {
  std::int64_t samples = 0;
  bool tokens = false;  ///< the input is of integers
  double input_mean = kNotMeasured;
  double input_deviation = kNotMeasured;
  double input_max = kNotMeasured;    ///< largest magnitude
  double input_nonfinite = 0;         ///< share of the elements
  double padding = kNotMeasured;      ///< tokens: share of the commonest token at the end of the rows
  std::vector<std::int64_t> labels;   ///< samples of each class; empty where the target is not of classes
  double target_mean = kNotMeasured;  ///< targets that are numbers
  double target_deviation = kNotMeasured;
  double output_min = kNotMeasured;
  double output_max = kNotMeasured;
  double output_deviation = kNotMeasured;
  double output_nonfinite = 0;
  bool output_rows_sum_to_one = false;  ///< every row is a distribution already
  double accuracy = kNotMeasured;       ///< classes: share of the samples whose greatest output is right
  std::vector<std::int64_t> confusion;  ///< classes x classes, row by row: [true class][predicted class]
};

/// Everything that was seen in one optimizer step. `parameters` is in the order of RunFacts::parameters; the other
/// lists are empty in steps where they were not due.
struct StepReading {
  std::int64_t step = 0;
  std::vector<ParameterReading> parameters;
  bool gradients_read = true;                  ///< false: those of `parameters` are figures of an earlier step
  std::vector<MagnitudeHistogram> histograms;  ///< of the gradients, one a parameter
  std::vector<ActivationReading> activations;  ///< from the input to the loss
  std::int64_t unread_activations = 0;         ///< that are there and could not be looked at
  std::vector<BatchNormReading> batch_norms;
  std::vector<std::string>
      loss_path;  ///< operators from the last layer to the loss, as {"softmax", "log_softmax", "nll"}
  std::shared_ptr<const BatchReading> batch;
  double loss_after = kNotMeasured;    ///< of the same batch, after the update
  double noise_scale = kNotMeasured;   ///< the batch size that the gradient's noise suggests (monitor/noise_scale.h)
  double ema_distance = kNotMeasured;  ///< norm of weights minus averaged weights, over the norm of the weights
};

/// A parameter as it is known before training; `trainable` goes with what is frozen or unfrozen meanwhile.
struct ParameterFacts {
  std::string name;
  std::vector<std::int64_t> shape;
  bool trainable = true;
  bool as_initialized = false;  ///< frozen, and its elements are spread as initialisers spread them
  bool table = false;           ///< rows of it are looked up; it multiplies nothing

  [[nodiscard]] double elements() const {
    double product = 1;
    for (const std::int64_t length : shape) {
      product *= static_cast<double>(length);
    }
    return product;
  }
};

/// What is known of a training before its first step.
struct RunFacts {
  std::vector<ParameterFacts> parameters;
  std::string loss;                 ///< as "cross_entropy"; "" where it is the user's own
  std::string optimizer;            ///< as "adamw"
  std::vector<std::string> tables;  ///< names of parameters that are known to be looked up, as embeddings are
  std::string precision = "float32";
  std::int64_t classes = 0;  ///< 0: no classes
  std::int64_t batch_size = 0;
  std::int64_t steps_per_epoch = -1;  ///< -1: not known
  std::int64_t planned_steps = -1;
  double clip_max_norm = kNotMeasured;  ///< NaN: no clipping by norm
  double weight_decay = 0;
  bool decoupled_decay = false;  ///< it shrinks weights apart from the gradient, as AdamW's does
  double momentum = kNotMeasured;
};

}  // namespace gradwise
