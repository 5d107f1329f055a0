#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <utility>

#include "gradwise/core/batch.h"
#include "tests/optim/toy_model.h"

namespace gradwise {

/// Batches of given samples. Epoch e begins with batch e (modulo their number), so that epochs differ in order.
class ListSource : public BatchSource {
 public:
  ListSource(Batch samples, std::int64_t batch_size) : samples_(std::move(samples)), batch_size_(batch_size) {}

  void start(std::int64_t epoch, std::int64_t position) override {
    epoch_ = epoch;
    position_ = position;
  }
  bool next(Batch& batch) override {
    if (position_ >= batches_per_epoch()) {
      return false;
    }
    batch = batch_at(epoch_, position_++);
    return true;
  }
  [[nodiscard]] std::int64_t batches_per_epoch() const override {
    return (samples_.size() + batch_size_ - 1) / batch_size_;
  }

  /// What `next` gives at this place, for loops written by hand.
  [[nodiscard]] Batch batch_at(std::int64_t epoch, std::int64_t position) const {
    const std::int64_t from = (epoch + position) % batches_per_epoch() * batch_size_;
    return part_of(samples_, from, std::min(from + batch_size_, samples_.size()));
  }

 private:
  Batch samples_;
  std::int64_t batch_size_;
  std::int64_t epoch_ = 0;
  std::int64_t position_ = 0;
};

/// Gives `good` batches, then throws.
class BreakingSource : public BatchSource {
 public:
  explicit BreakingSource(std::int64_t good) : good_(good) {}
  void start(std::int64_t /*epoch*/, std::int64_t position) override { position_ = position; }
  bool next(Batch& batch) override {
    if (position_++ >= good_) {
      throw std::runtime_error("the data broke");
    }
    batch = toy_batch(4);
    return true;
  }
  [[nodiscard]] std::int64_t batches_per_epoch() const override { return -1; }

 private:
  std::int64_t good_;
  std::int64_t position_ = 0;
};

}  // namespace gradwise
