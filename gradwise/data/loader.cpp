#include "gradwise/data/loader.h"

#include <algorithm>
#include <utility>

#include "gradwise/core/error.h"
#include "gradwise/data/prefetcher.h"
#include "gradwise/data/shuffle.h"

namespace gradwise {
namespace {

constexpr const char* kLoaderPlace = "loader";

Conversion conversion_of(const LoaderOptions& options) {
  Conversion conversion;
  conversion.scale = options.scale;
  conversion.mean = options.mean;
  conversion.stddev = options.stddev;
  conversion.crop_padding = options.crop_padding;
  conversion.flip = options.flip;
  return conversion;
}

bool converts(const LoaderOptions& options) {
  return options.scale != 1 || !options.mean.empty() || !options.stddev.empty() || options.crop_padding != 0 ||
         options.flip;
}

/// Only this handle holds the tensor and its memory, and the caller did not make it part of a graph.
bool unshared(const at::Tensor& tensor) {
  return !tensor.defined() || (tensor.use_count() == 1 && tensor.has_storage() && tensor.storage().use_count() == 1 &&
                               !tensor.requires_grad());
}

}  // namespace

DataLoader::DataLoader(Dataset dataset, const LoaderOptions& options) : options_(options) {
  check_fields(kLoaderPlace, options_);
  store_ = std::make_shared<TensorStore>(std::move(dataset), conversion_of(options_));
  set_up();
}

DataLoader::DataLoader(std::shared_ptr<const SampleStore> store, const LoaderOptions& options)
    : options_(options), store_(std::move(store)) {
  check_fields(kLoaderPlace, options_);
  GRADWISE_CHECK(store_ != nullptr, kLoaderPlace, "the store is null");
  GRADWISE_CHECK(!converts(options_), kLoaderPlace,
                 "scale, mean, std, crop_padding and flip are for a Dataset; a store converts its samples itself");
  set_up();
}

DataLoader::~DataLoader() = default;

void DataLoader::set_up() {
  const std::int64_t size = store_->size();
  GRADWISE_CHECK(size > 0, kLoaderPlace, "the data set is empty");
  GRADWISE_CHECK(options_.batch_size <= size, kLoaderPlace, "batch_size is ", options_.batch_size,
                 ", the data set has ", size, " samples, allowed: at most as many");
  batches_ = options_.drop_last ? size / options_.batch_size : (size + options_.batch_size - 1) / options_.batch_size;
}

void DataLoader::start(std::int64_t epoch, std::int64_t position) {
  GRADWISE_CHECK(epoch >= 0, kLoaderPlace, "epoch is ", epoch, ", allowed: from 0");
  GRADWISE_CHECK(position >= 0 && position <= batches_, kLoaderPlace, "position is ", position, ", allowed: from 0 to ",
                 batches_);
  prefetcher_.reset();
  if (options_.shuffle) {
    order_ = shuffled_order(store_->size(), stream_key(options_.seed, epoch, Stream::order));
  }
  augmentation_key_ = stream_key(options_.seed, epoch, Stream::augmentation);
  position_ = position;
  started_ = true;
  if (options_.prefetch > 0) {
    prefetcher_ = std::make_unique<Prefetcher>([this](Batch& batch) { return produce(batch); },
                                               static_cast<std::size_t>(options_.prefetch));
  }
}

bool DataLoader::next(Batch& batch) {
  GRADWISE_CHECK(started_, kLoaderPlace, "next was called before start");
  batch = Batch{};
  Batch spare = take_back();
  if (prefetcher_) {
    if (!prefetcher_->next(batch, std::move(spare))) {
      return false;
    }
  } else {
    if (!produce(spare)) {
      return false;
    }
    batch = std::move(spare);
  }
  lent_ = batch;
  return true;
}

Batch DataLoader::take_back() {
  Batch back = std::exchange(lent_, Batch{});
  const bool ours = unshared(back.input) && unshared(back.target) && std::ranges::all_of(back.extra, unshared);
  return ours ? std::move(back) : Batch{};
}

bool DataLoader::produce(Batch& batch) {
  if (position_ == batches_) {
    return false;
  }
  const std::int64_t first = position_ * options_.batch_size;
  const std::int64_t last = std::min(first + options_.batch_size, store_->size());
  samples_.clear();
  for (std::int64_t i = first; i < last; ++i) {
    const auto place = static_cast<std::size_t>(i);
    samples_.push_back({order_.empty() ? i : order_[place], random_bits(augmentation_key_, place)});
  }
  store_->gather(samples_, batch);
  ++position_;
  return true;
}

}  // namespace gradwise
