#pragma once

#include <cstdint>
#include <vector>

#include "benchmarks/optimizer/shapes.h"

namespace gradwise::bench {

/// Whole steps (forward, backward, clip, AdamW) over parameters of these shapes.
struct BackwardSteps {
  std::vector<double> seconds;  ///< of each step
  std::int64_t peak = 0;        ///< bytes that a step has allocated at once, beside weights and the optimizer's state
};

/// The loss is the sum of squares, so that forward costs little and each gradient is as large as its parameter.
[[nodiscard]] BackwardSteps steps_with_backward(const Shapes& shapes, bool update_in_backward, int steps);

}  // namespace gradwise::bench
