#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace gradwise::bench {

struct CheckpointCost {
  double first_seconds = 0;         ///< blocked by the first checkpoint, which allocates the buffers
  std::vector<double> blocked;      ///< seconds that later ones blocked the training
  std::vector<double> copied;       ///< seconds to copy the same bytes between two warm buffers, one after each
  std::vector<double> until_saved;  ///< seconds until it was on disk
  std::int64_t bytes = 0;
};

/// Checkpoints of `parameters` float32 numbers in ten tensors, each compared with a plain copy of them.
[[nodiscard]] CheckpointCost measure_checkpoint(const std::filesystem::path& folder, std::int64_t parameters,
                                                std::int64_t rounds);

}  // namespace gradwise::bench
