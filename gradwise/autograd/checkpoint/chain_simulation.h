#pragma once

#include <cstdint>
#include <vector>

#include "gradwise/autograd/checkpoint/chain_schedule.h"

namespace gradwise {

struct SimulatedChain {
  double seconds = 0;
  std::int64_t peak_bytes = 0;
};

/// Time and peak memory of a schedule, by going through it operation by operation. Error: a schedule of other stages,
/// or one with a part that is missing or out of its bounds.
[[nodiscard]] SimulatedChain simulate_chain(const std::vector<ChainStage>& stages, const ChainSchedule& schedule);

}  // namespace gradwise
