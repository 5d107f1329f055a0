#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "gradwise/core/batch.h"
#include "gradwise/core/fields.h"
#include "gradwise/data/dataset.h"
#include "gradwise/data/sample_store.h"
#include "gradwise/data/tensor_store.h"

namespace gradwise {

class Prefetcher;

struct LoaderOptions {
  std::int64_t batch_size = 64;
  bool shuffle = true;
  std::int64_t seed = 0;
  bool drop_last = false;
  std::int64_t prefetch = 2;
  double scale = 1;
  std::vector<double> mean = {};
  std::vector<double> stddev = {};
  std::int64_t crop_padding = 0;
  bool flip = false;
};

template <class Fields>
void describe(Fields& fields, LoaderOptions& o) {
  fields.add("batch_size", o.batch_size, "samples in a batch", at_least(1));
  fields.add("shuffle", o.shuffle, "a new random order in each epoch", anything());
  fields.add("seed", o.seed, "of the order, of crops and of flips", anything());
  fields.add("drop_last", o.drop_last, "leave out the last batch where it is smaller", anything());
  fields.add("prefetch", o.prefetch, "batches made ahead on a thread of its own; 0 for none", between(0, 1024));
  describe_conversion(fields, o);
}

/// Batches of a data set, in an order that depends on (seed, epoch) alone; crops and flips depend on (seed, epoch,
/// place in the epoch) alone. Neither threads nor `prefetch` change what comes, and `start(epoch, position)` goes on
/// anywhere.
///
///   DataLoader loader(read_idx_dataset(images, labels), {.batch_size = 64, .scale = 1.0 / 255});
///   loader.start(/*epoch=*/0, /*position=*/0);
///   for (Batch batch; loader.next(batch);) { ... }
///
/// Memory of a batch is used again once the caller holds neither the tensors nor views of them: a batch that is kept
/// stays as it is. That is looked at in `next`, in the caller's thread: work on a batch in another thread has to be
/// waited for before the batch is let go of.
/// Errors: an empty set, a batch larger than the set, a conversion that does not fit (see TensorStore); what the store
/// throws comes out of `next`.
class DataLoader : public BatchSource {
 public:
  explicit DataLoader(Dataset dataset, const LoaderOptions& options = {});
  /// Over a user's own store, which converts its samples itself: scale, mean, std, crop_padding and flip must be at
  /// their defaults. Loaders may share a store.
  explicit DataLoader(std::shared_ptr<const SampleStore> store, const LoaderOptions& options = {});
  ~DataLoader() override;
  DataLoader(const DataLoader&) = delete;
  DataLoader& operator=(const DataLoader&) = delete;

  void start(std::int64_t epoch, std::int64_t position) override;
  bool next(Batch& batch) override;
  [[nodiscard]] std::int64_t batches_per_epoch() const override { return batches_; }

 private:
  void set_up();
  bool produce(Batch& batch);
  Batch take_back();

  LoaderOptions options_;
  std::shared_ptr<const SampleStore> store_;
  std::int64_t batches_ = 0;
  bool started_ = false;
  Batch lent_;  // what the caller got last

  // Used by the prefetcher's thread while there is one.
  std::vector<std::int64_t> order_;  // empty without shuffling
  std::uint64_t augmentation_key_ = 0;
  std::int64_t position_ = 0;
  std::vector<Sample> samples_;
  std::unique_ptr<Prefetcher> prefetcher_;  // last: its thread ends before the rest goes
};

}  // namespace gradwise
