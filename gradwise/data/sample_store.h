#pragma once

#include <cstdint>
#include <span>

#include "gradwise/core/batch.h"

namespace gradwise {

/// A sample that the loader asks for.
struct Sample {
  std::int64_t index = 0;    ///< from 0 to size() - 1
  std::uint64_t random = 0;  ///< 64 random bits that depend on (seed, epoch, place in the epoch) alone: all that an
                             ///< augmentation may draw from, so that a run can be resumed exactly
};

/// Samples that a DataLoader makes batches of. A user's own data set is one class:
///
///   class Squares : public SampleStore {
///     std::int64_t size() const override { return 1000; }
///     void gather(std::span<const Sample> samples, Batch& batch) const override {
///       ensure_tensor(batch.input, {static_cast<std::int64_t>(samples.size()), 1}, at::kFloat);
///       ...
///     }
///   };
class SampleStore {
 public:
  virtual ~SampleStore() = default;
  [[nodiscard]] virtual std::int64_t size() const = 0;
  /// Fills `batch` with these samples, along dimension 0. Called from the loader's thread, one call at a time for each
  /// loader; draws no global random numbers. `batch` may come with tensors of an earlier call that nobody else holds:
  /// `ensure_tensor` (new_tensor.h) uses them again.
  virtual void gather(std::span<const Sample> samples, Batch& batch) const = 0;
};

}  // namespace gradwise
