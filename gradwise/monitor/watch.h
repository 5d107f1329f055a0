#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "gradwise/core/fields.h"
#include "gradwise/core/named_parameters.h"
#include "gradwise/core/reading.h"

namespace gradwise {

struct WatchOptions {
  std::int64_t every = 1;
  std::int64_t weights_every = 1;
  std::int64_t histograms_every = 0;
  bool cosine = true;
};

template <class Fields>
void describe(Fields& fields, WatchOptions& o) {
  fields.add("every", o.every, "optimizer steps between readings of the gradients", at_least(1));
  fields.add("weights_every", o.weights_every, "optimizer steps between readings of weights and updates; 0: never",
             at_least(0));
  fields.add("histograms_every", o.histograms_every, "optimizer steps between histograms of the gradients; 0: never",
             at_least(0));
  fields.add("cosine", o.cosine, "cosine of each gradient with the one of the reading before", anything());
}

/// Reads the gradient of every parameter as it arrives: native hooks that fire when a gradient is accumulated read it
/// once, in the thread that produced it, while it is in cache. Nothing is changed: a watched training has the same
/// bits.
///
///   Watch watch(model.parameters);
///   loss.backward();
///   for (const ParameterReading& seen : watch.step()) std::printf("%g\n", seen.grad_norm);
///   optimizer.step();
///   watch.after_update();  // weights and updates too
///
/// Gradients may be dense or sparse, of float32, float64, float16 or bfloat16, of any layout. On a device other than
/// the CPU they are read in `step`, by ATen's operators, and fetched together: one synchronisation for gradients and
/// one for weights. Hooks that the parameters have already stay and run first. Not for a gradient that is given to
/// `autograd::grad` alone: that is never accumulated.
///
/// The cosine with the gradient before is exact for parameters of up to 1,024 elements; for larger ones it is
/// estimated from sketches (kernels/sketch.h), with a standard error of about 0.03. On other devices it is not read.
/// Updates are measured against a copy of the weights, which takes as much memory as they do; where the optimizer
/// measures them (AutogradOptimizer::weight_moments), there is none.
///
/// A frozen parameter has a reading without figures, which is not `missing` either. Parameters may be frozen and
/// unfrozen in mid-run: a `step` that is read looks at `requires_grad`.
class Watch {
 public:
  /// Errors: no parameter asks for a gradient; one that does is computed from others, or not of real numbers.
  explicit Watch(const NamedParameters& parameters, WatchOptions options = {});
  /// Detaches.
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  /// Says that the steps from now on have so many backward passes, so that each gradient is read after the last of them
  /// alone. Where a step has another number in the end, its readings are right all the same, and cost more.
  void expect_backwards(std::int64_t count);
  /// Takes the next step for the one after `steps`, so that intervals go on where they stood when a training is
  /// resumed.
  void count_from(std::int64_t steps);
  /// Has the next step read, and its histograms where they are asked for, whether it is due or not.
  void read_next();
  /// Takes the gradients that have arrived since the last `step` for none of the next one's: those of an optimizer that
  /// evaluates the loss again within its update.
  void drop_gradients();
  /// Whether a gradient has arrived since the last `step`.
  [[nodiscard]] bool arrived() const;
  /// How many, over all parameters.
  [[nodiscard]] std::int64_t arrivals() const;

  /// Ends a step, before its gradients are changed or cleared. `scale` is what the gradients have to be multiplied by:
  /// the reciprocal of a loss scale. The readings stay as they are until the next `step`; in a step between two
  /// readings they are those of the last. `measured_update`: the figures of the update will be given to
  /// `after_update`.
  std::span<const ParameterReading> step(double scale = 1.0, bool measured_update = false);
  /// Global L2 norm of the gradients that the last `step` has read, as they stand: NaN where it was not due or one of
  /// them is not finite.
  [[nodiscard]] double gradient_norm() const;
  /// Reads the weights and what the optimizer has done to them, after `step` and the update. In steps where that is
  /// not due, the figures are those of the last time.
  std::span<const ParameterReading> after_update();
  /// The same by what the optimizer has measured: one a parameter, in the order of `names`; those of frozen ones, and
  /// of no elements, are passed over.
  std::span<const ParameterReading> after_update(std::span<const WeightMoments> measured);
  /// Copies the weights for the next update, where `step` will come after it; `weights_every` has to be 1.
  void keep_weights();
  /// Takes the weights as they are for those that the next update begins with: after they were loaded or changed by
  /// something else than the optimizer.
  void rebase();

  /// Takes the hooks away; the readings stay.
  void detach();

  /// All parameters, in the order of the readings.
  [[nodiscard]] const std::vector<std::string>& names() const;
  /// Whether each of them asked for a gradient, or got one, in the last step that was read.
  [[nodiscard]] const std::vector<bool>& trained() const;
  /// Goes up when `trained` changes.
  [[nodiscard]] std::int64_t trained_version() const;
  [[nodiscard]] std::span<const ParameterReading> readings() const;
  /// One a parameter, of the whole step's gradient as it stood, scaled or not; empty where none was due in the last
  /// step that was read.
  [[nodiscard]] std::span<const MagnitudeHistogram> histograms() const;
  /// Steps that were ended, those before `count_from` with them.
  [[nodiscard]] std::int64_t steps() const;
  /// Whether the last `step` was one that is read.
  [[nodiscard]] bool was_read() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gradwise
