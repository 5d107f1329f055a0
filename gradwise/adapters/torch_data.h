#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "gradwise/core/batch.h"

namespace gradwise {

/// Serves a `torch::data` loader whose data set stacks its examples (`.map(torch::data::transforms::Stack<>())`) as a
/// BatchSource:
///
///   TorchDataSource source([dataset, options] { return torch::data::make_data_loader(dataset, options); }, batches);
///
/// `make_loader` is called at each start of an epoch. A resume in mid-epoch reads and drops the batches before it;
/// it is exact where the loader's order depends on nothing but its construction, as a sequential sampler's does.
/// `batches` is their number in an epoch, -1 where that is not known.
template <class MakeLoader>
class TorchDataSource : public BatchSource {
 public:
  explicit TorchDataSource(MakeLoader make_loader, std::int64_t batches = -1)
      : make_loader_(std::move(make_loader)), batches_(batches) {}

  void start(std::int64_t /*epoch*/, std::int64_t position) override {
    at_.reset();
    loader_ = make_loader_();
    at_.emplace(loader_->begin());
    for (std::int64_t i = 0; i < position && *at_ != loader_->end(); ++i) {
      ++*at_;
    }
    first_ = true;
  }

  bool next(Batch& batch) override {
    if (!std::exchange(first_, false)) {
      ++*at_;
    }
    if (*at_ == loader_->end()) {
      first_ = true;
      return false;
    }
    batch.input = (*at_)->data;
    batch.target = (*at_)->target;
    return true;
  }

  [[nodiscard]] std::int64_t batches_per_epoch() const override { return batches_; }

 private:
  using Loader = std::invoke_result_t<MakeLoader>;
  MakeLoader make_loader_;
  std::int64_t batches_;
  Loader loader_{};
  std::optional<decltype(std::declval<Loader&>()->begin())> at_;
  bool first_ = true;
};

}  // namespace gradwise
