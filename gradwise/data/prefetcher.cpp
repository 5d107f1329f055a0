#include "gradwise/data/prefetcher.h"

#include <utility>

namespace gradwise {

Prefetcher::Prefetcher(Produce produce, std::size_t depth)
    : produce_(std::move(produce)), depth_(depth), thread_(&Prefetcher::run, this) {}

Prefetcher::~Prefetcher() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  freed_.notify_one();
  thread_.join();
}

bool Prefetcher::next(Batch& batch, Batch spare) {
  std::unique_lock lock(mutex_);
  if (spare.input.defined()) {
    spares_.push_back(std::move(spare));
  }
  filled_.wait(lock, [this] { return finished_ || !ready_.empty(); });
  if (ready_.empty()) {
    if (error_) {
      std::rethrow_exception(error_);
    }
    return false;
  }
  batch = std::move(ready_.front());
  ready_.pop_front();
  lock.unlock();
  freed_.notify_one();
  return true;
}

void Prefetcher::run() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    Batch batch;
    if (!spares_.empty()) {
      batch = std::move(spares_.back());
      spares_.pop_back();
    }
    lock.unlock();
    bool produced = false;
    std::exception_ptr error;
    try {
      produced = produce_(batch);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    if (!produced) {
      error_ = error;
      break;
    }
    ready_.push_back(std::move(batch));
    filled_.notify_one();
    freed_.wait(lock, [this] { return stop_ || ready_.size() < depth_; });
  }
  finished_ = true;
  filled_.notify_one();
}

}  // namespace gradwise
