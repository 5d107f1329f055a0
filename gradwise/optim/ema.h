#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "gradwise/core/fields.h"
#include "gradwise/core/named_parameters.h"
#include "gradwise/core/state.h"

namespace gradwise {

struct EmaOptions {
  double decay = 0.999;
  std::int64_t every = 1;
  bool warmup = true;
  bool bias_correction = false;
};

template <class Fields>
void describe(Fields& fields, EmaOptions& o) {
  fields.add("decay", o.decay, "weight of the old average in an update", between(0, 1));
  fields.add("every", o.every, "steps from one update of the average to the next", at_least(1));
  fields.add("warmup", o.warmup, "use min(decay, (1 + n) / (10 + n)) in update n", anything());
  fields.add("bias_correction", o.bias_correction, "start at zero and divide by one minus the product of the decays",
             anything());
}

/// The weight of the old average in the `update`th update, counted from 1.
[[nodiscard]] double average_decay(const EmaOptions& options, std::int64_t update);

/// average += share · (value - average) of each; values of another type or device are converted. Errors: lists of
/// different lengths.
void move_averages(const std::vector<at::Tensor>& averages, const std::vector<at::Tensor>& values, double share);

/// Exponential moving average of parameters and, if given, buffers:
/// shadow <- decay · shadow + (1 - decay) · parameter, after every optimizer step.
///
///   ExponentialMovingAverage ema(model.parameters, {.decay = 0.999}, model.buffers);
///   ... optimizer step ...; ema.update();
///   { auto averaged = ema.average_parameters(); validate(); }   // the weights are back here, whatever happened
///
/// With `every` = k each k-th call of `update` moves the average, and `num_updates`, by which warm-up goes, counts
/// these. Same results as the Python package torch_ema (warm-up is its `use_num_updates`). Only parameters that ask for
/// a gradient are averaged; buffers that are not floating point (counters) are copied. The shadow lives on the
/// parameters' device in their dtype. Errors: shapes that changed, `restore` without `store`.
class ExponentialMovingAverage {
 public:
  explicit ExponentialMovingAverage(const NamedParameters& parameters, EmaOptions options = {},
                                    const NamedParameters& buffers = {});
  ExponentialMovingAverage(ExponentialMovingAverage&&) = default;
  ExponentialMovingAverage(const ExponentialMovingAverage&) = delete;  // copies would share the averages
  ExponentialMovingAverage& operator=(ExponentialMovingAverage&&) = default;
  ExponentialMovingAverage& operator=(const ExponentialMovingAverage&) = delete;
  ~ExponentialMovingAverage() = default;

  void update();
  /// `update` in two parts, for an optimizer that moves the averages of the parameters in its own pass, by
  /// average += begin_update() · (parameter - average); 0 in a step that leaves them as they are.
  [[nodiscard]] double begin_update();
  void finish_update();
  /// The averages that such a pass moves, of each parameter that asks for a gradient, in order.
  [[nodiscard]] std::vector<at::Tensor> parameter_averages() const;
  /// How often `to` has replaced them.
  [[nodiscard]] std::int64_t moves() const { return moves_; }
  /// And what they are the averages of.
  [[nodiscard]] std::vector<at::Tensor> averaged_parameters() const;
  /// Writes the averages into the parameters.
  void copy_to() const;
  /// Keeps a copy of the parameters as they are, for `restore`.
  void store();
  void restore();

  /// Holds the averages in the parameters for its lifetime.
  class Scope {
   public:
    explicit Scope(ExponentialMovingAverage& ema);
    ~Scope();
    Scope(Scope&& other) noexcept : ema_(std::exchange(other.ema_, nullptr)), kept_(std::move(other.kept_)) {}
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    Scope& operator=(Scope&&) = delete;

   private:
    ExponentialMovingAverage* ema_;
    std::vector<at::Tensor> kept_;
  };
  [[nodiscard]] Scope average_parameters() { return Scope(*this); }

  /// The averages by name, buffers among them: the tensors that `update` changes, or with bias correction new ones.
  [[nodiscard]] NamedParameters averages() const;
  [[nodiscard]] std::int64_t num_updates() const { return num_updates_; }
  [[nodiscard]] double decay() const { return options_.decay; }
  [[nodiscard]] std::int64_t every() const { return options_.every; }

  [[nodiscard]] State state() const;
  void load_state(const State& state);
  /// Moves the averages.
  void to(at::Device device);
  void to(at::ScalarType dtype);

 private:
  void move_from(std::size_t first, double share);

  EmaOptions options_;
  NamedParameters sources_;   // averaged: parameters, then floating-point buffers
  NamedParameters counters_;  // buffers that are copied
  std::size_t parameters_;    // how many of the sources are parameters
  double share_ = 0;          // of the update under way
  bool due_ = false;          // whether it moves anything
  std::vector<at::Tensor> shadow_;
  std::vector<at::Tensor> counter_shadow_;
  std::vector<at::Tensor> stored_;
  std::int64_t num_updates_ = 0;
  std::int64_t since_update_ = 0;  // calls since the last of them
  std::int64_t moves_ = 0;
  double decay_product_ = 1;
};

}  // namespace gradwise
