#include "gradwise/record/terminal.h"

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdlib>

#include "gradwise/core/step_info.h"
#include "gradwise/record/duration_text.h"
#include "gradwise/record/mebibyte.h"

namespace gradwise {
namespace {

constexpr const char* kRed = "\033[31m";
constexpr const char* kGreen = "\033[32m";
constexpr const char* kYellow = "\033[33m";
constexpr const char* kPlain = "\033[0m";

template <std::same_as<double>... Values>
std::string format(const char* pattern, Values... values) {
  char text[256];
  std::snprintf(text, sizeof(text), pattern, plain_nan(values)...);
  return text;
}

std::string count(std::int64_t value) { return std::to_string(value); }

// As https://no-color.org asks: set and not empty.
bool colours_refused() {
  const char* value = std::getenv("NO_COLOR");
  return value != nullptr && *value != '\0';
}

}  // namespace

TerminalSink::TerminalSink(std::FILE* out, TerminalOptions options)
    : out_(out),
      progress_line_(out, options.plain_interval),
      coloured_(progress_line_.is_terminal() && !colours_refused()) {
  check_fields("terminal", options);
}

void TerminalSink::line(const std::string& text, const char* colour) {
  progress_line_.clear();
  if (coloured_ && *colour != '\0') {
    std::fprintf(out_, "%s%s%s\n", colour, text.c_str(), kPlain);
  } else {
    std::fprintf(out_, "%s\n", text.c_str());
  }
}

std::string TerminalSink::epoch_of_all(std::int64_t epoch) const {
  return count(epoch + 1) + (epochs_ > 0 ? "/" + count(epochs_) : "");
}

std::string TerminalSink::progress_text(const Event& event, const StepInfo& info) const {
  std::string text = "epoch " + epoch_of_all(info.epoch);
  if (steps_per_epoch_ > 0) {
    text += "  step " + count(info.step - info.epoch * steps_per_epoch_) + "/" + count(steps_per_epoch_);
    if (epochs_ > 0) {
      const auto left = static_cast<double>(epochs_ * steps_per_epoch_ - info.step);
      const auto done = static_cast<double>(std::max<std::int64_t>(1, info.step - first_step_));
      text += "  ETA " + duration_text(left * (event.time - started_) / done);
    }
  } else {
    text += "  step " + count(info.step);
  }
  text += format("  loss %.4f", info.loss);
  if (!std::isnan(info.grad_norm)) {
    text += format("  grad norm %.3g", info.grad_norm);
  }
  return text + format("  %.0f samples/s  lr %.3g", speed_, info.lr);
}

double TerminalSink::share_done(const StepInfo& info) const {
  return steps_per_epoch_ > 0 && epochs_ > 0
             ? static_cast<double>(info.step) / static_cast<double>(epochs_ * steps_per_epoch_)
             : kNotMeasured;
}

void TerminalSink::progress(const Event& event) {
  if (progress_line_.is_due(event.time)) {
    const auto& info = std::get<StepInfo>(event.payload);
    progress_line_.show(progress_text(event, info), share_done(info), event.time);
  }
}

void TerminalSink::show(const Event& /*event*/, const Issue& issue) {
  if (issue.severity == Issue::Severity::info) {
    return;  // for who looks into the report
  }
  line("  ! step " + count(issue.step) + ": " + issue.message + (issue.advice.empty() ? "" : "; " + issue.advice),
       issue.severity == Issue::Severity::error ? kRed : kYellow);
}

void TerminalSink::show(const Event& event, const RunStarted& started) {
  epochs_ = started.epochs;
  steps_per_epoch_ = started.steps_per_epoch;
  first_step_ = std::max<std::int64_t>(0, started.resumed_at);
  started_ = event.time;
  line(started.name + ": " + started.model + ", " + count(started.parameters) + " parameters, on " + started.device +
       ", " + count(started.threads) + (started.threads == 1 ? " thread" : " threads") +
       (started.resumed_at >= 0 ? ", resumed at step " + count(started.resumed_at) : ""));
}

void TerminalSink::show(const Event& /*event*/, const EpochFinished& done) {
  line("epoch " + epoch_of_all(done.epoch) +
       format("  train loss %.4f  grad norm %.3g  %.0f samples/s  ", done.mean_loss, done.mean_grad_norm,
              done.samples_per_second) +
       duration_text(done.seconds));
}

void TerminalSink::show(const Event& /*event*/, const Validated& seen) {
  std::string text = "  " + seen.data + format(" loss %.4f", seen.loss);
  for (const auto& [name, value] : seen.metrics) {
    text += "  " + name + format(" %.4f", value);
  }
  line(text + (seen.best ? "  (best so far)" : ""), seen.best ? kGreen : "");
}

void TerminalSink::show(const Event& /*event*/, const CheckpointSaved& saved) {
  line("  saved " + saved.path +
       format("  %.1f MiB, training waited %.1f ms", static_cast<double>(saved.bytes) / kMebibyte,
              saved.blocked_seconds * 1e3));
}

void TerminalSink::show(const Event& /*event*/, const Message& message) {
  const bool info = message.level == Message::Level::info;
  line((info ? "" : "  ! ") + message.text, info ? "" : message.level == Message::Level::error ? kRed : kYellow);
}

void TerminalSink::show(const Event& /*event*/, const RunFinished& finished) {
  line(finished.status + (finished.reason.empty() ? "" : ": " + finished.reason));
}

// Steps are shown as progress, once a while.
void TerminalSink::show(const Event& event, const StepInfo& info) {
  if (info.seconds.total > 0) {
    const double now = static_cast<double>(info.samples) / info.seconds.total;
    speed_ = speed_ == 0 ? now : 0.95 * speed_ + 0.05 * now;
  }
  for (const Issue& issue : info.issues) {
    show(event, issue);
  }
}

void TerminalSink::write(std::span<const Event> events) {
  const Event* last_step = nullptr;
  for (const Event& event : events) {
    const bool is_step = std::holds_alternative<StepInfo>(event.payload);
    if (!is_step && last_step != nullptr) {
      progress(*last_step);  // before what came after it
    }
    last_step = is_step ? &event : nullptr;
    std::visit([this, &event](const auto& payload) { show(event, payload); }, event.payload);
  }
  if (last_step != nullptr) {
    progress(*last_step);
  }
}

void TerminalSink::flush() { std::fflush(out_); }

}  // namespace gradwise
