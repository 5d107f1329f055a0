#include "gradwise/record/recorder.h"

#include <chrono>
#include <utility>

namespace gradwise {
namespace {

// A fast loop must not pile up events between two writes.
constexpr std::size_t kHighWater = 4096;

}  // namespace

Recorder::Recorder(std::vector<std::unique_ptr<Sink>> sinks, RecorderOptions options)
    : options_(options), sinks_(std::move(sinks)) {
  check_fields("recorder", options_);
  pending_.reserve(kHighWater);
  thread_ = std::thread([this] { run(); });
}

Recorder::~Recorder() {
  {
    const std::scoped_lock lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

Action Recorder::on(const Moment& moment) {
  if (moment.event != nullptr) {
    record(*moment.event);
  }
  return Action::proceed;
}

void Recorder::record(Event event) {
  bool full = false;
  {
    const std::scoped_lock lock(mutex_);
    pending_.push_back(std::move(event));
    full = pending_.size() >= kHighWater;
    urgent_ = urgent_ || full;
  }
  if (full) {
    changed_.notify_all();
  }
}

void Recorder::drain() {
  std::unique_lock lock(mutex_);
  urgent_ = true;
  changed_.notify_all();
  changed_.wait(lock, [this] { return pending_.empty() && !writing_; });
}

std::vector<std::string> Recorder::failures() const {
  const std::scoped_lock lock(mutex_);
  return failures_;
}

// Writes to every sink; the ones that fail are gone, and the answer holds a Message about each.
std::vector<Event> Recorder::give(std::span<const Event> events) {
  std::vector<Event> failed;
  for (std::unique_ptr<Sink>& sink : sinks_) {
    try {
      sink->write(events);
      sink->flush();
    } catch (const std::exception& error) {
      sink.reset();
      failed.push_back(
          make_event(events.back().step,
                     Message{Message::Level::error, std::string("a record is no longer kept: ") + error.what()}));
      const std::scoped_lock lock(mutex_);
      failures_.emplace_back(error.what());
    }
  }
  std::erase(sinks_, nullptr);
  return failed;
}

void Recorder::write(std::vector<Event>& events) {
  std::vector<Event> failed = give(events);
  events.clear();
  while (!failed.empty()) {
    failed = give(failed);
  }
}

void Recorder::run() {
  std::vector<Event> batch;
  batch.reserve(kHighWater);
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait_for(lock, std::chrono::duration<double>(options_.flush_interval),
                      [this] { return urgent_ || ending_; });
    urgent_ = false;
    const bool last = ending_;
    std::swap(batch, pending_);
    writing_ = true;
    lock.unlock();
    if (!batch.empty()) {
      write(batch);
    }
    lock.lock();
    writing_ = false;
    changed_.notify_all();
    if (last && pending_.empty()) {
      return;
    }
  }
}

}  // namespace gradwise
