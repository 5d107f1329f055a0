#pragma once

#include <cstdint>
#include <cstdio>
#include <span>
#include <string>

#include "gradwise/core/event.h"
#include "gradwise/core/fields.h"
#include "gradwise/record/progress_line.h"

namespace gradwise {

struct TerminalOptions {
  double plain_interval = 10;
};

template <class Fields>
void describe(Fields& fields, TerminalOptions& o) {
  fields.add("plain_interval", o.plain_interval, "seconds between progress lines where the output is no terminal",
             at_least(0));
}

/// Shows a training to a person: on a terminal a progress bar (epoch, time left, loss, gradient norm, samples per
/// second, learning rate) with finished epochs, validations, checkpoints, issues and messages above it; elsewhere the
/// same as plain lines, progress only once a while. Colours on a terminal, unless the environment's NO_COLOR is set.
class TerminalSink : public Sink {
 public:
  /// `out` must outlive the sink.
  explicit TerminalSink(std::FILE* out, TerminalOptions options = {});

  void write(std::span<const Event> events) override;
  void flush() override;

 private:
  void show(const Event& event, const StepInfo& info);
  void show(const Event& event, const EpochFinished& done);
  void show(const Event& event, const Validated& seen);
  void show(const Event& event, const CheckpointSaved& saved);
  void show(const Event& event, const Issue& issue);
  void show(const Event& event, const Message& message);
  void show(const Event& event, const RunStarted& started);
  void show(const Event& event, const RunFinished& finished);
  void show(const Event& /*event*/, const WatchedStep& /*seen*/) {}  // not for the terminal
  void show(const Event& /*event*/, const Diagnosed& /*diagnosed*/) {}
  void line(const std::string& text, const char* colour = "");
  void progress(const Event& event);
  [[nodiscard]] std::string epoch_of_all(std::int64_t epoch) const;
  [[nodiscard]] std::string progress_text(const Event& event, const StepInfo& info) const;
  /// Of all steps; NaN where their number is not known.
  [[nodiscard]] double share_done(const StepInfo& info) const;

  std::FILE* out_;
  ProgressLine progress_line_;
  bool coloured_;
  std::int64_t epochs_ = 0;
  std::int64_t steps_per_epoch_ = -1;
  std::int64_t first_step_ = 0;  // done before this process
  double started_ = 0;
  double speed_ = 0;  // samples per second, smoothed
};

}  // namespace gradwise
