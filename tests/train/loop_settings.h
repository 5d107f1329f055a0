#pragma once

#include <cstdint>

#include "gradwise/train/loop_options.h"

namespace gradwise {

/// Plain gradient descent at a rate that moves every weight visibly.
inline OptimizerOptions plain_sgd() {
  OptimizerOptions options;
  options.name = "sgd";
  options.lr = 0.1;
  return options;
}

inline LoopOptions epochs(std::int64_t count) {
  LoopOptions options;
  options.epochs = count;
  return options;
}

}  // namespace gradwise
