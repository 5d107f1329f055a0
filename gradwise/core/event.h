#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "gradwise/core/finding.h"
#include "gradwise/core/reading.h"
#include "gradwise/core/step_info.h"

namespace gradwise {

struct RunStarted {
  std::string name;
  std::string model;   ///< one line: kind and size
  std::string device;  ///< as "cpu"
  std::int64_t parameters = 0;
  std::int64_t threads = 0;
  std::int64_t epochs = 0;            ///< 0 where not known
  std::int64_t steps_per_epoch = -1;  ///< optimizer steps; -1 where not known
  std::string monitor = {};           ///< the validation figure that decides what is best; "" where not known
  std::int64_t resumed_at = -1;       ///< step the run goes on from; -1 for a new run
};

struct EpochFinished {
  std::int64_t epoch = 0;
  double mean_loss = 0;
  double mean_grad_norm = 0;
  double samples_per_second = 0;
  double seconds = 0;
};

struct Validated {
  std::int64_t epoch = 0;
  std::string data;  ///< "validation" or "test"
  double loss = 0;
  std::vector<std::pair<std::string, double>> metrics;
  double seconds = 0;
  bool averaged = false;  ///< measured with the averaged weights (EMA)
  bool best = false;      ///< the best so far by the monitored metric
};

struct CheckpointSaved {
  std::string path;  ///< relative to the run's folder
  std::int64_t bytes = 0;
  double blocked_seconds = 0;  ///< how long the training step waited for it
  double seconds = 0;          ///< until it was safe on disk
  std::int64_t step = 0;       ///< optimizer steps that it holds; the event comes when it is safe, steps later
};

struct Message {
  using Level = Severity;
  Level level = Level::info;
  std::string text;
};

/// What was seen in a step. `facts` name the parameters in the order of the reading.
struct WatchedStep {
  std::shared_ptr<const RunFacts> facts;
  std::shared_ptr<const StepReading> reading;
};

/// What the issues so far come from, most likely first. A later one takes the place of an earlier one.
struct Diagnosed {
  std::vector<Finding> findings;
};

struct RunFinished {
  std::string status;  ///< "finished", "stopped", "interrupted" or "failed"
  std::string reason;
};

using Payload = std::variant<StepInfo, EpochFinished, Validated, CheckpointSaved, Issue, Message, RunStarted,
                             WatchedStep, Diagnosed, RunFinished>;

/// One typed record of what happened; every sink gets the same ones.
struct Event {
  double time = 0;        ///< seconds since the Unix epoch
  std::int64_t step = 0;  ///< optimizer step that was last done
  Payload payload;
};

/// An Event with the time of now.
[[nodiscard]] Event make_event(std::int64_t step, Payload payload);

/// Takes events to a file, a database or a screen. Called from one thread only, with events in their order.
/// Throws an Error where it can't write.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void write(std::span<const Event> events) = 0;
  /// Makes all that was written durable.
  virtual void flush() = 0;
};

}  // namespace gradwise
