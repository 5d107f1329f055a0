#pragma once

#include "benchmarks/diagnosis/scenario.h"
#include "gradwise/core/batch.h"
#include "gradwise/data/dataset.h"

namespace gradwise::bench {

/// What a scenario learns from and is tested on. Inputs are (N, F) or images (N, 1, H, W), mean 0 and deviation 1;
/// targets are classes or one number a sample.
struct Samples {
  Dataset train;
  Dataset test;
  std::int64_t outputs = 1;
  bool classes = true;
};

[[nodiscard]] Samples make_samples(const Scenario& scenario);

}  // namespace gradwise::bench
