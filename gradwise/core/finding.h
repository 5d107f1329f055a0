#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gradwise/core/step_info.h"

namespace gradwise {

/// What a training suffers from: one cause and everything that follows from it.
struct Finding {
  std::string cause = {};            ///< short name, as in "learning_rate_too_high"
  std::string title = {};            ///< one line for a reader
  std::string layer = {};            ///< where; empty for the whole training
  std::int64_t step = 0;             ///< when it was first seen
  double confidence = 0;             ///< 0 to 1
  std::vector<Issue> evidence = {};  ///< what points at it, strongest first: figures against thresholds
  std::vector<Issue> symptoms = {};  ///< what follows from it
  std::string remedy = {};
};

}  // namespace gradwise
