#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace gradwise {

/// One mini-batch. `input` and `target` have the samples along dimension 0; a model with several inputs finds the
/// others in `extra`.
struct Batch {
  at::Tensor input;
  at::Tensor target;
  std::vector<at::Tensor> extra;

  /// Number of samples: the length of `input` along dimension 0.
  [[nodiscard]] std::int64_t size() const { return input.dim() == 0 ? 1 : input.size(0); }
};

/// Maps (output, target) to the loss: a scalar tensor, the mean over the samples.
using LossFunction = std::function<at::Tensor(const at::Tensor& output, const at::Tensor& target)>;

/// Gives the batches of an epoch one after the other. The order may depend on the epoch's number and on a seed of its
/// own, on nothing else: then `start(epoch, position)` is all that an exact resume in mid-epoch needs.
class BatchSource {
 public:
  virtual ~BatchSource() = default;
  /// Begins `epoch` (from 0) at batch `position` (0 is its first).
  virtual void start(std::int64_t epoch, std::int64_t position) = 0;
  /// Fills `batch` and returns true, or returns false at the end of the epoch. The tensors are the caller's until
  /// the next call.
  virtual bool next(Batch& batch) = 0;
  /// Batches in an epoch, or -1 where that is not known.
  [[nodiscard]] virtual std::int64_t batches_per_epoch() const = 0;
};

}  // namespace gradwise
