#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "gradwise/core/fields.h"
#include "gradwise/core/named_parameters.h"
#include "gradwise/kernels/moments.h"

namespace gradwise {

struct WatchOptions {
  std::int64_t every = 1;
  std::int64_t histograms_every = 0;
};

template <class Fields>
void describe(Fields& fields, WatchOptions& o) {
  fields.add("every", o.every, "optimizer steps between readings of the gradients", at_least(1));
  fields.add("histograms_every", o.histograms_every, "optimizer steps between histograms of the gradients; 0: never",
             at_least(0));
}

/// What a step saw of one parameter's gradient.
struct GradientReading {
  std::string name;
  std::int64_t step = -1;                       ///< of the last reading, as Watch counts; -1: none yet
  bool missing = true;                          ///< no backward pass reached it in that step
  kernels::Moments gradient;                    ///< of the whole step's gradient, unscaled
  std::optional<kernels::Histogram> histogram;  ///< where one was due; of the gradient as it stood, scaled or not
};

/// Reads the gradient of every parameter as it arrives: native hooks that fire when a gradient is accumulated read it
/// once, in the thread that produced it, while it is in cache. Nothing is changed: a watched training has the same
/// bits.
///
///   Watch watch(model.parameters);
///   loss.backward();
///   for (const GradientReading& seen : watch.step()) std::printf("%s %g\n", seen.name.c_str(), seen.gradient.l2());
///
/// Gradients may be dense or sparse, of float32, float64, float16 or bfloat16, of any layout. On a device other than
/// the CPU they are read in `step`, by ATen's operators, and fetched together: one synchronisation a step. Hooks that
/// the parameters have already stay and run first. Not for a gradient that is given to `autograd::grad` alone: that is
/// never accumulated.
class Watch {
 public:
  /// Parameters that ask for no gradient are left out; an error where none is left.
  explicit Watch(const NamedParameters& parameters, WatchOptions options = {});
  /// Detaches.
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  /// Says that the step under way has so many backward passes, so that each gradient is read after the last of them
  /// alone. Where it has another number in the end, the readings are right all the same, and cost more.
  void expect_backwards(std::int64_t count);

  /// Ends a step, before its gradients are changed or cleared. `scale` is what the gradients have to be multiplied by:
  /// the reciprocal of a loss scale. The readings stay as they are until the next `step`; in a step between two
  /// readings they are those of the last.
  std::span<const GradientReading> step(double scale = 1.0);

  /// Takes the hooks away; the readings stay.
  void detach();

  [[nodiscard]] std::span<const GradientReading> readings() const;
  /// Steps that were ended.
  [[nodiscard]] std::int64_t steps() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gradwise
