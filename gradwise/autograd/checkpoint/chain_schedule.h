#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace gradwise {

/// One stage of a chain, as it was measured. Bytes are of all devices together.
struct ChainStage {
  double forward_seconds = 0;
  double backward_seconds = 0;
  std::int64_t output_bytes = 0;   ///< of its result alone
  std::int64_t saved_bytes = 0;    ///< of its result and all that its backward needs beside its input
  std::int64_t forward_extra = 0;  ///< above what it leaves, while forward runs
  /// Above its saved bytes and the gradients at its ends, while backward runs; down to -output_bytes, where backward
  /// does without the result.
  std::int64_t backward_extra = 0;
};

/// How a part of a chain is run: stage `first` keeps what its backward needs and the rest follows; or stages `first`
/// ... `middle` - 1 keep their input alone and are run again, by `again`, when backward comes to them, and the rest
/// follows.
struct ChainSchedule {
  std::int64_t first = 0;
  std::int64_t last = 0;                                 ///< the last stage of this part
  std::int64_t middle = 0;                               ///< == first: the stage is kept
  std::shared_ptr<const ChainSchedule> again = nullptr;  ///< of first ... middle - 1
  std::shared_ptr<const ChainSchedule> rest = nullptr;   ///< of middle (first + 1 where kept) ... last; none at the end
};

struct PlannedChain {
  std::shared_ptr<const ChainSchedule> schedule;
  double seconds = 0;           ///< of forward and backward, by the stages' times
  double least_seconds = 0;     ///< where everything is kept
  std::int64_t peak_bytes = 0;  ///< of the schedule, by the stages' bytes; the chain's input is not in it
};

/// The schedule of least time whose memory stays within `budget` bytes, for a chain of any stages: the dynamic
/// programme of Beaumont, Eyraud-Dubois, Herrmann, Joly and Shilova, "Optimal checkpointing for heterogeneous chains:
/// how to train deep neural networks with limited memory", 2019 (theorem 1). Bytes are counted in `slots` equal parts
/// of the budget, rounded up: a schedule never takes more than it says. Where all stages are equal, it is Revolve's
/// (Griewank and Walther, 2000). The programme's table takes about 2 n (n + 1) (slots + 1) bytes for n stages.
///
/// Errors: no stage, a negative figure, slots out of 1 ... 1000000; a budget below the least that any schedule takes,
/// which is said; one so little above it that only more slots would do.
[[nodiscard]] PlannedChain schedule_chain(const std::vector<ChainStage>& stages, std::int64_t budget,
                                          std::int64_t slots = 500);

/// The least budget with which `stages` can be run at all, whatever time it takes.
[[nodiscard]] std::int64_t least_chain_budget(const std::vector<ChainStage>& stages);

}  // namespace gradwise
