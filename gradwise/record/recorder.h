#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "gradwise/core/fields.h"
#include "gradwise/core/observer.h"

namespace gradwise {

struct RecorderOptions {
  double flush_interval = 1.0;  ///< seconds; a killed process loses the events of at most one interval
};

template <class Fields>
void describe(Fields& fields, RecorderOptions& o) {
  fields.add("flush_interval", o.flush_interval, "seconds between writes of the run's records", positive());
}

/// Takes the events of a training to sinks on a thread of its own: the training hands an event over and goes on.
///
///   Recorder recorder(std::move(sinks));
///   loop.add_observer(recorder);
///
/// A sink that fails is put aside, once, with a Message to the others; the training goes on.
class Recorder : public Observer {
 public:
  explicit Recorder(std::vector<std::unique_ptr<Sink>> sinks, RecorderOptions options = {});
  /// Writes what is left.
  ~Recorder() override;
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  Action on(const Moment& moment) override;
  void record(Event event);
  /// Waits until all that was handed over is durable.
  void drain();
  /// What went wrong with sinks so far.
  [[nodiscard]] std::vector<std::string> failures() const;

 private:
  void run();
  void write(std::vector<Event>& events);
  [[nodiscard]] std::vector<Event> give(std::span<const Event> events);

  RecorderOptions options_;
  std::vector<std::unique_ptr<Sink>> sinks_;  // the thread's
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Event> pending_;
  std::vector<std::string> failures_;
  bool writing_ = false;
  bool urgent_ = false;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace gradwise
