#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "gradwise/core/batch.h"

namespace gradwise {

/// Makes up to `depth` batches ahead on a thread of its own, in order.
class Prefetcher {
 public:
  /// Fills a batch (which may come with tensors to use again) and returns true, or returns false at the end.
  using Produce = std::function<bool(Batch&)>;

  /// `produce` is called in the thread, from now until the end, its first exception, or the destructor, which waits for
  /// the call that is under way.
  Prefetcher(Produce produce, std::size_t depth);
  ~Prefetcher();
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  /// Waits for the next batch; false at the end. Throws what `produce` threw, after the batches before that.
  /// `spare` holds tensors that nobody else holds, or nothing.
  bool next(Batch& batch, Batch spare);

 private:
  void run();

  Produce produce_;
  std::size_t depth_;
  std::mutex mutex_;  // guards all that follows
  std::condition_variable filled_;
  std::condition_variable freed_;
  std::deque<Batch> ready_;
  std::vector<Batch> spares_;
  std::exception_ptr error_;
  bool finished_ = false;
  bool stop_ = false;
  std::thread thread_;  // last, as it uses the others
};

}  // namespace gradwise
