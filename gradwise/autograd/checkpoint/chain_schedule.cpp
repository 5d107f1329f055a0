#include "gradwise/autograd/checkpoint/chain_schedule.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "gradwise/core/error.h"

namespace gradwise {
namespace {

constexpr auto kPlanPlace = "plan_checkpoints";
constexpr float kNever = std::numeric_limits<float>::infinity();

void check_stages(const std::vector<ChainStage>& stages) {
  GRADWISE_CHECK(!stages.empty(), kPlanPlace, "the chain has no stage");
  for (std::size_t i = 0; i < stages.size(); ++i) {
    const ChainStage& s = stages[i];
    GRADWISE_CHECK(s.forward_seconds >= 0 && s.backward_seconds >= 0 && s.output_bytes >= 0 && s.forward_extra >= 0 &&
                       s.backward_extra >= -s.output_bytes,
                   kPlanPlace, "stage ", i, " has a negative time or size");
    GRADWISE_CHECK(s.saved_bytes >= s.output_bytes, kPlanPlace, "stage ", i, " saves ", s.saved_bytes,
                   " bytes, its output alone has ", s.output_bytes);
  }
}

// The sizes of a chain in whole slots. Stage i takes x[i] and makes x[i + 1]; x[0] is the caller's.
struct Slots {
  std::vector<int> input;  // of stage i; input[n] is the last output
  std::vector<int> saved;
  std::vector<int> forward_extra;
  std::vector<int> backward_extra;

  Slots(const std::vector<ChainStage>& stages, double slot) {
    const auto whole = [slot](std::int64_t bytes) {
      return static_cast<int>(std::min(1e9, std::ceil(static_cast<double>(bytes) / slot)));
    };
    input.push_back(0);
    for (const ChainStage& stage : stages) {
      input.push_back(whole(stage.output_bytes));
      saved.push_back(whole(stage.saved_bytes));
      forward_extra.push_back(whole(stage.forward_extra));
      backward_extra.push_back(whole(stage.backward_extra));
    }
  }

  // With everything of stage s kept while the gradient of the part's output, x[t + 1], lies in wait.
  [[nodiscard]] int needed_to_keep(std::size_t s, std::size_t t) const {
    return std::max(input[t + 1] + saved[s] + forward_extra[s], input[s + 1] + input[s] + saved[s] + backward_extra[s]);
  }
};

// Least times of all parts [s, t] by memory: the table of the programme.
class Table {
 public:
  Table(const std::vector<ChainStage>& stages, const Slots& slots, int memory)
      : count_(stages.size()), width_(static_cast<std::size_t>(memory) + 1), slots_(slots) {
    forward_.push_back(0);
    backward_.push_back(0);
    for (const ChainStage& stage : stages) {
      forward_.push_back(forward_.back() + stage.forward_seconds);
      backward_.push_back(backward_.back() + stage.backward_seconds);
    }
    values_.resize(count_ * (count_ + 1) / 2 * width_);
    for (std::size_t length = 1; length <= count_; ++length) {
      const auto parts = static_cast<std::int64_t>(count_ - length + 1);
      at::parallel_for(0, parts, 1, [&](std::int64_t begin, std::int64_t end) {
        for (auto s = static_cast<std::size_t>(begin); s < static_cast<std::size_t>(end); ++s) {
          fill(s, s + length - 1);
        }
      });
    }
  }

  // By memory: seconds beyond running each forward and backward once, kNever where it can't be done.
  [[nodiscard]] const float* extra(std::size_t s, std::size_t t) const {
    return values_.data() + (row_start(s) + (t - s)) * width_;
  }
  [[nodiscard]] double base(std::size_t s, std::size_t t) const {
    return forward_[t + 1] - forward_[s] + backward_[t + 1] - backward_[s];
  }
  // Of running stages s ... middle - 1 once more.
  [[nodiscard]] float again(std::size_t s, std::size_t middle) const {
    return static_cast<float>(forward_[middle] - forward_[s]);
  }
  // With nothing of the stages before `t` kept but x[middle]: passing from s up to t - 1.
  [[nodiscard]] int needed_to_pass(std::size_t s, std::size_t t) const {
    int needed = slots_.input[t + 1] + slots_.input[s + 1] + slots_.forward_extra[s];
    for (std::size_t j = s + 1; j < t; ++j) {
      needed = std::max(needed, slots_.input[t + 1] + slots_.input[j] + slots_.input[j + 1] + slots_.forward_extra[j]);
    }
    return needed;
  }
  [[nodiscard]] int memory() const { return static_cast<int>(width_) - 1; }

 private:
  [[nodiscard]] std::size_t row_start(std::size_t s) const { return s * count_ - s * (s - 1) / 2; }
  float* cells(std::size_t s, std::size_t t) { return values_.data() + (row_start(s) + (t - s)) * width_; }

  void fill(std::size_t s, std::size_t t) {
    float* best = cells(s, t);
    const int memory_slots = memory();
    std::fill(best, best + width_, kNever);
    for (int m = slots_.needed_to_keep(s, t); m <= memory_slots; ++m) {
      best[m] = s == t ? 0 : extra(s + 1, t)[std::max(0, m - slots_.saved[s])];
    }
    if (s == t) {
      return;
    }
    for (int m = 0; m <= memory_slots && m < slots_.saved[s]; ++m) {
      best[m] = kNever;  // what is kept must fit before the rest does
    }
    const int pass = needed_to_pass(s, t);
    // A schedule with more memory is never slower, so those that a later cut can still better end where the
    // recomputation that every cut at `middle` costs is no longer below the best so far.
    int end = memory_slots + 1;
    for (std::size_t middle = s + 1; middle <= t; ++middle) {
      const float least = again(s, middle);
      while (end > 0 && best[end - 1] <= least) {
        --end;
      }
      const int held = slots_.input[middle];
      const int start = std::max(pass, held);
      const float* rest = extra(middle, t) - held;
      const float* front = extra(s, middle - 1);
#pragma omp simd
      for (int m = start; m < end; ++m) {
        const float candidate = least + rest[m] + front[m];
        best[m] = candidate < best[m] ? candidate : best[m];
      }
    }
  }

  std::size_t count_;
  std::size_t width_;
  const Slots& slots_;
  std::vector<double> forward_;
  std::vector<double> backward_;
  std::vector<float> values_;
};

// Goes back through the choices that made the least time.
std::shared_ptr<const ChainSchedule> schedule_of(const Table& table, const Slots& slots, std::size_t s, std::size_t t,
                                                 int memory) {
  auto made = std::make_shared<ChainSchedule>();
  made->first = made->middle = static_cast<std::int64_t>(s);
  made->last = static_cast<std::int64_t>(t);
  if (s == t) {
    return made;
  }
  float best = kNever;
  if (memory >= slots.needed_to_keep(s, t) && memory >= slots.saved[s]) {
    best = table.extra(s + 1, t)[memory - slots.saved[s]];
  }
  if (memory >= table.needed_to_pass(s, t)) {
    for (std::size_t middle = s + 1; middle <= t; ++middle) {
      const int held = slots.input[middle];
      if (memory < held) {
        continue;
      }
      const float time = table.again(s, middle) + table.extra(middle, t)[memory - held] +
                         table.extra(s, middle - 1)[memory];
      if (time < best) {
        best = time;
        made->middle = static_cast<std::int64_t>(middle);
      }
    }
  }
  if (made->middle == made->first) {
    made->rest = schedule_of(table, slots, s + 1, t, memory - slots.saved[s]);
  } else {
    const auto middle = static_cast<std::size_t>(made->middle);
    made->again = schedule_of(table, slots, s, middle - 1, memory);
    made->rest = schedule_of(table, slots, middle, t, memory - slots.input[middle]);
  }
  return made;
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
  Simulation simulation(stages);
  simulation.hold(stages.back().output_bytes);  // the gradient at the end
  simulation.run(schedule, 0);
  return simulation.result();
}

std::int64_t least_chain_budget(const std::vector<ChainStage>& stages) {
  check_stages(stages);
  // Stage t is the last of its part when all before it is run again from the input: x[t] is held alone.
  const Slots bytes(stages, 1.0);
  const auto size = [&](std::size_t i) { return i == 0 ? 0 : stages[i - 1].output_bytes; };
  std::int64_t least = 0;
  for (std::size_t t = 0; t < stages.size(); ++t) {
    const ChainStage& last = stages[t];
    const std::int64_t gradient = last.output_bytes;
    for (std::size_t j = 0; j + 1 <= t; ++j) {
      least = std::max(least, gradient + size(j) + stages[j].output_bytes + stages[j].forward_extra);
    }
    least = std::max({least, size(t) + gradient + last.saved_bytes + last.forward_extra,
                      size(t) + gradient + last.saved_bytes + size(t) + last.backward_extra});
  }
  return least;
}

PlannedChain schedule_chain(const std::vector<ChainStage>& stages, std::int64_t budget, std::int64_t slots) {
  check_stages(stages);
  GRADWISE_CHECK(slots >= 1 && slots <= 1000000, kPlanPlace, "slots is ", slots, ", allowed: 1 ... 1000000");
  GRADWISE_CHECK(budget > 0, kPlanPlace, "the memory budget is ", budget, " bytes, allowed: > 0");
  const Slots whole(stages, static_cast<double>(budget) / static_cast<double>(slots));
  const auto memory = static_cast<int>(slots);
  const Table table(stages, whole, memory);
  const std::size_t last = stages.size() - 1;
  if (table.extra(0, last)[memory] == kNever) {
    fail_usage(kPlanPlace, "no schedule fits into ", budget, " bytes, allowed: about ", least_chain_budget(stages),
               " bytes or more");
  }
  PlannedChain planned;
  planned.schedule = schedule_of(table, whole, 0, last, memory);
  const SimulatedChain simulated = simulate_chain(stages, *planned.schedule);
  planned.seconds = simulated.seconds;
  planned.least_seconds = table.base(0, last);
  planned.peak_bytes = simulated.peak_bytes;
  return planned;
}

}  // namespace gradwise
