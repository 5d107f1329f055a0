#pragma once

namespace gradwise {

class AutogradTrainingLoop;

/// While it lives, SIGINT and SIGTERM ask the loop to stop after its step and to save; a second one ends the process at
/// once with 128 plus the signal's number, the last checkpoint intact.
class StopSignals {
 public:
  explicit StopSignals(AutogradTrainingLoop& loop);
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  /// The signal that came, 0 for none.
  [[nodiscard]] static int received();
};

}  // namespace gradwise
