#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace gradwise {

struct DoctorRequest {
  std::string subject;  ///< a configuration's file, or a run
  std::vector<std::string> overrides;
  std::int64_t steps = 0;  ///< of each training; 0: 200 beyond the warm-up of the learning rate
  bool fix = false;
  std::string output;  ///< where the mended configuration goes; empty: beside the old one, or in the run
};

/// Trains shortly under watch and prints the diagnosis; with `fix` tries remedies one by one from the same start, keeps
/// what helps, and writes the mended configuration where something did. Returns the exit status.
[[nodiscard]] int run_doctor(const DoctorRequest& request);

}  // namespace gradwise
