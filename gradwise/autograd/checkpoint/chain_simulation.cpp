#include "gradwise/autograd/checkpoint/chain_simulation.h"

#include <algorithm>

#include "gradwise/core/error.h"

namespace gradwise {
namespace {

// Whether a schedule is one of the stages first ... last.
bool covers(const ChainSchedule* part, std::int64_t first, std::int64_t last) {
  if (part == nullptr || part->first != first || part->last != last || part->middle < first || part->middle > last) {
    return false;
  }
  if (part->middle == first) {
    return first == last ? part->rest == nullptr : covers(part->rest.get(), first + 1, last);
  }
  return covers(part->again.get(), first, part->middle - 1) && covers(part->rest.get(), part->middle, last);
}

// Forward and backward of one schedule, with the bytes that lie there at each moment.
class Simulation {
 public:
  explicit Simulation(const std::vector<ChainStage>& stages) : stages_(stages) {}

  // `input` and the gradient of the part's output lie there; at the end its input's gradient does, instead of both.
  void run(const ChainSchedule& part, std::int64_t input) {
    const std::int64_t gradient = stage(part.last).output_bytes;
    if (part.middle == part.first) {
      keep(part, input, gradient);
    } else {
      std::int64_t in = input;
      const std::int64_t before = held_;
      for (std::int64_t i = part.first; i < part.middle; ++i) {
        seconds_ += stage(i).forward_seconds;
        // The part's own input is held by the caller until backward has been through it.
        see(before + (i == part.first ? 0 : in) + stage(i).output_bytes + stage(i).forward_extra);
        in = stage(i).output_bytes;
      }
      held_ = before + in;
      run(*part.rest, in);
      // x[middle] is gone, its gradient takes its place
      held_ = before - gradient + in;
      run(*part.again, input);
    }
  }

  [[nodiscard]] SimulatedChain result() const { return {seconds_, peak_}; }
  void hold(std::int64_t bytes) { held_ += bytes; }

 private:
  const ChainStage& stage(std::int64_t i) const { return stages_[static_cast<std::size_t>(i)]; }
  void see(std::int64_t bytes) { peak_ = std::max(peak_, bytes); }

  void keep(const ChainSchedule& part, std::int64_t input, std::int64_t gradient) {
    const ChainStage& s = stage(part.first);
    seconds_ += s.forward_seconds + s.backward_seconds;
    see(held_ + s.saved_bytes + s.forward_extra);
    const std::int64_t before = held_;
    if (part.rest) {
      held_ = before + s.saved_bytes;
      run(*part.rest, s.output_bytes);
    }
    // Now what was held before, without the gradient of the part's output, with this stage's own.
    const std::int64_t input_gradient = part.first == 0 ? 0 : input;
    see(before - gradient + s.output_bytes + s.saved_bytes + input_gradient + s.backward_extra);
    held_ = before - gradient + input_gradient;
  }

  const std::vector<ChainStage>& stages_;
  double seconds_ = 0;
  std::int64_t held_ = 0;
  std::int64_t peak_ = 0;
};

}  // namespace

SimulatedChain simulate_chain(const std::vector<ChainStage>& stages, const ChainSchedule& schedule) {
  const auto count = std::ssize(stages);
  GRADWISE_CHECK(count > 0 && covers(&schedule, 0, count - 1), "simulate_chain", "the schedule is not one of ", count,
                 " stages");
  Simulation simulation(stages);
  simulation.hold(stages.back().output_bytes);  // the gradient at the end
  simulation.run(schedule, 0);
  return simulation.result();
}

}  // namespace gradwise
