#pragma once

#include <cstdio>
#include <string>

namespace gradwise {

/// What a long work shows of itself: on a terminal one line that is drawn anew, elsewhere plain lines, only once a
/// while.
class ProgressLine {
 public:
  /// `out` must outlive it; `plain_interval`: least seconds between two lines where `out` is no terminal.
  ProgressLine(std::FILE* out, double plain_interval);
  /// Takes the line away from a terminal.
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  /// Whether the line may be shown at `time`, in seconds: the first one always, later ones after their interval.
  [[nodiscard]] bool is_due(double time) const { return time - shown_at_ >= interval_; }
  /// Shows the line, on a terminal after a bar where `share` (0 to 1) is not NaN.
  void show(const std::string& text, double share, double time);
  /// Takes the line away, to make place for another text.
  void clear();
  [[nodiscard]] bool is_terminal() const { return is_terminal_; }

 private:
  std::FILE* out_;
  bool is_terminal_;
  double interval_;
  bool drawn_ = false;
  double shown_at_ = -1e300;
};

}  // namespace gradwise
