#pragma once

#include <vector>

#include "gradwise/plot/canvas.h"
#include "gradwise/record/run_reader.h"

namespace gradwise {

/// Loss (with validation and issues), gradient norm and learning rate over the steps: those that were measured.
[[nodiscard]] std::vector<Panel> training_panels(const RunReader& run);

/// The peak memory of the steps in MiB, where it was measured; of a long run the greatest over equal windows.
[[nodiscard]] std::vector<Panel> memory_panels(const RunReader& run);

/// A curve of at most 2,000 points: means over equal windows, and a centred moving mean of the loss.
struct CurvePoint {
  std::int64_t step = 0;
  double loss = 0;
  double smooth_loss = 0;
  double grad_norm = 0;
  double lr = 0;
};
[[nodiscard]] std::vector<CurvePoint> curve_of(const std::vector<StepInfo>& steps);

}  // namespace gradwise
