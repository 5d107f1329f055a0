#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gradwise/core/nearest_name.h"
#include "gradwise/core/reading.h"

namespace gradwise {

/// One optimizer step, as rules see it. `reading` is null in steps that were not read.
struct StepRecord {
  StepInfo info;
  std::shared_ptr<const StepReading> reading;
};

/// One validation beside the training loss of its time.
struct ValidationRecord {
  std::int64_t step = 0;
  std::int64_t epoch = 0;
  double train_loss = kNotMeasured;  ///< mean of the epoch
  double loss = kNotMeasured;
  std::vector<std::pair<std::string, double>> metrics;
  /// A metric's value, NaN where there is none of this name.
  [[nodiscard]] double metric(const std::string& name) const;
};

/// Another run's losses, to compare with.
struct OtherRun {
  std::string name;
  std::vector<double> losses;
};

/// What a training has shown so far: everything that a rule may look at. The newest step stands last.
struct History {
  RunFacts facts;
  /// Of the steps since the first, NaN in skipped ones. The first 64 and the last 2,048 are kept as they were; of a
  /// long training, those between are means over more and more steps.
  std::vector<double> losses;
  std::vector<ValidationRecord> validations;
  std::vector<OtherRun> other_runs;
  double seconds_since_step = 0;  ///< how long the step under way has been taking
  std::int64_t restored_at = 0;   ///< the step after which weights were last put back

  static constexpr std::size_t kKeptSteps = 400;

  /// The last `kKeptSteps`. `add` alone changes them; readings are lent below until it lets go of their step.
  [[nodiscard]] const std::deque<StepRecord>& steps() const { return steps_; }
  void add(StepRecord record);
  [[nodiscard]] bool empty() const { return steps_.empty(); }
  [[nodiscard]] const StepRecord& now() const { return steps_.back(); }
  [[nodiscard]] std::int64_t step() const { return steps_.empty() ? 0 : steps_.back().info.step; }
  /// The newest `count` readings, oldest first; fewer where there are fewer.
  [[nodiscard]] std::vector<const StepReading*> readings(std::size_t count) const;
  /// The newest `count` of those that hold activations, oldest first.
  [[nodiscard]] std::vector<const StepReading*> readings_with_activations(std::size_t count) const;
  /// The newest `count` that list the way to the loss, and that list batch norms, oldest first.
  [[nodiscard]] std::vector<const StepReading*> readings_with_loss_path(std::size_t count) const;
  [[nodiscard]] std::vector<const StepReading*> readings_with_batch_norms(std::size_t count) const;
  /// The newest `count` that know how far the averaged weights are, oldest first.
  [[nodiscard]] std::vector<const StepReading*> readings_with_average(std::size_t count) const;
  /// The newest `count` that list parameters, of steps that were not skipped, oldest first.
  [[nodiscard]] std::vector<const StepReading*> readings_of_updates(std::size_t count) const;
  /// The newest `count` that hold a batch, and those batches, oldest first.
  [[nodiscard]] std::vector<const StepReading*> readings_with_batch(std::size_t count) const;
  [[nodiscard]] std::vector<const BatchReading*> batches(std::size_t count) const;
  /// The losses of the newest `count` steps that were not skipped, oldest first.
  [[nodiscard]] std::vector<double> recent_losses(std::size_t count) const;
  /// The same of the first steps.
  [[nodiscard]] std::vector<double> first_losses(std::size_t count) const;

 private:
  // What readings hold, and what rules ask for them by.
  enum Kind { kAny, kActivations, kLossPath, kBatchNorms, kAverage, kUpdate, kBatch, kKinds };
  using Readings = std::deque<const StepReading*>;

  [[nodiscard]] static bool is(Kind kind, const StepRecord& record);
  [[nodiscard]] std::vector<const StepReading*> newest(Kind kind, std::size_t count) const;

  std::deque<StepRecord> steps_;
  // Theirs, oldest first: dozens of rules would look through all steps for them.
  std::array<Readings, kKinds> by_kind_;
};

/// Figures that many rules need. NaN where there are no values; values that are NaN are passed over.
[[nodiscard]] double mean_of(const std::vector<double>& values);
[[nodiscard]] double median_of(std::vector<double> values);
/// Median of the distances from the median, times 1.4826: the deviation of a normal distribution, robustly.
[[nodiscard]] double robust_deviation(const std::vector<double>& values);
/// Slope of the least-squares line through the values against 0, 1, 2, ...
[[nodiscard]] double slope_of(const std::vector<double>& values);

/// Whether it is a matrix or a convolution's kernel: the parameters in which depth shows. Biases and norms are not.
[[nodiscard]] bool is_weight(const ParameterFacts& parameter);
/// Positions of the trainable weights, from the input to the output as the model lists them.
[[nodiscard]] std::vector<std::size_t> weights_by_depth(const RunFacts& facts);
/// Those that multiply what they get: without tables that are looked up (embeddings, positions, codebooks), as their
/// names or their place in a model of tokens tell. Gradients and deviations of tables are of another kind.
[[nodiscard]] std::vector<std::size_t> layer_weights(const History& history);

/// One figure of a parameter, in each of the readings; NaN where they do not list it.
[[nodiscard]] std::vector<double> figures_of(const std::vector<const StepReading*>& readings, std::size_t parameter,
                                             double ParameterReading::* figure);
/// The variance that a weight had before the update of a reading, which itself is taken after it; NaN where all of it
/// was 0.
[[nodiscard]] double variance_before(const ParameterReading& reading, const ParameterFacts& facts);
/// Whether the learning rate is higher than it was so many steps ago (or at the first step that is kept): a warm-up.
[[nodiscard]] bool rate_rises(const History& history, std::size_t steps);
/// Whether the gradient held NaN or infinity.
[[nodiscard]] bool has_nonfinite_gradient(const ParameterReading& reading);
/// Whether an update before this step has put NaN or infinity into the weights, as gradients show, or losses where
/// those were not read: what the model computes then is no sign of where numbers broke. A step between that shows
/// numbers, or weights that were put back, end it.
[[nodiscard]] bool spoilt_before(const History& history, std::int64_t step);
/// How far the losses have fallen from the first fifth of them to the last (medians, of at most 100), as a share of the
/// former; negative where they rose, NaN where there are fewer than five.
[[nodiscard]] double fall_of(const std::vector<double>& losses);
/// How many activations, from the first, stand before the model's output: the others are on the way to the loss.
[[nodiscard]] std::size_t hidden_activations(const StepReading& reading, const RunFacts& facts);

}  // namespace gradwise
