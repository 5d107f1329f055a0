#include "gradwise/autograd/checkpoint/chain_schedule.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "gradwise/autograd/checkpoint/chain_simulation.h"
#include "gradwise/core/error.h"
#include "gradwise/kernels/min_plus.h"

namespace gradwise {
namespace {

constexpr auto kPlanPlace = "plan_checkpoints";
constexpr float kNever = std::numeric_limits<float>::infinity();
// More slots than any budget has; four of them can be added.
constexpr double kMostSlots = (1 << 29) - 1;

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
      return static_cast<int>(std::clamp(std::ceil(static_cast<double>(bytes) / slot), -kMostSlots, kMostSlots));
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

// Least times of all parts [s, t] by memory: the table of the programme. It is filled in tiles, for whole rows of parts
// would be fetched from memory once for every cut.
class Table {
 public:
  Table(const std::vector<ChainStage>& stages, const Slots& slots, int memory)
      : count_(stages.size()),
        width_(static_cast<std::size_t>(memory) + 1),
        stride_(((width_ + kLine - 1) / kLine | 1) * kLine),
        slots_(slots) {
    forward_.push_back(0);
    backward_.push_back(0);
    for (const ChainStage& stage : stages) {
      forward_.push_back(forward_.back() + stage.forward_seconds);
      backward_.push_back(backward_.back() + stage.backward_seconds);
    }
    most_on_the_way_.assign(count_ * count_, 0);
    for (std::size_t s = 0; s < count_; ++s) {
      int most = slots.input[s + 1] + slots.forward_extra[s];
      for (std::size_t t = s + 1; t < count_; ++t) {
        most_on_the_way_[s * count_ + t] = most;
        most = std::max(most, slots.input[t] + slots.input[t + 1] + slots.forward_extra[t]);
      }
    }
    values_.assign(count_ * (count_ + 1) / 2 * stride_, kNever);
    const std::size_t tiles = (count_ + kTile - 1) / kTile;
    // Tiles of one diagonal depend on those before it alone.
    for (std::size_t distance = 0; distance < tiles; ++distance) {
      at::parallel_for(0, static_cast<std::int64_t>(tiles - distance), 1, [&](std::int64_t begin, std::int64_t end) {
        for (auto row = static_cast<std::size_t>(begin); row < static_cast<std::size_t>(end); ++row) {
          fill_tile(row, row + distance);
        }
      });
    }
  }

  // By memory: seconds beyond running each forward and backward once, kNever where it can't be done.
  [[nodiscard]] const float* extra(std::size_t s, std::size_t t) const {
    return values_.data() + (row_start(s) + (t - s)) * stride_;
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
    return slots_.input[t + 1] + most_on_the_way_[s * count_ + t];
  }

 private:
  static constexpr std::size_t kTile = 32;
  static constexpr std::size_t kLine = 16;  // floats in a line of the cache

  [[nodiscard]] std::size_t row_start(std::size_t s) const { return s * count_ - s * (s - 1) / 2; }
  float* cells(std::size_t s, std::size_t t) { return values_.data() + (row_start(s) + (t - s)) * stride_; }

  // Parts that begin in the tile `row` and end in the tile `column`.
  void fill_tile(std::size_t row, std::size_t column) {
    const std::size_t first = row * kTile;
    const std::size_t rows_end = std::min(count_, first + kTile);
    const std::size_t start = column * kTile;
    const std::size_t end = std::min(count_, start + kTile);
    for (std::size_t tile = row + 1; tile < column; ++tile) {
      for (std::size_t s = first; s < rows_end; s += 2) {
        std::size_t t = start;
        for (; t + 1 < end; t += 2) {
          cut_pairs(s, t, tile * kTile);
        }
        if (t < end) {
          cut(s, t, tile * kTile, (tile + 1) * kTile);
          cut(s + 1, t, tile * kTile, (tile + 1) * kTile);
        }
      }
    }
    // What is left depends on parts of this tile: those to the left and below come first.
    for (std::size_t t = start; t < end; ++t) {
      for (std::size_t s = std::min(rows_end, t + 1); s-- > first;) {
        keep(s, t);
        if (row != column) {
          cut(s, t, s + 1, rows_end);
        }
        cut(s, t, row == column ? s + 1 : start, t + 1);
      }
    }
  }

  // Stage s is kept.
  void keep(std::size_t s, std::size_t t) {
    float* best = cells(s, t);
    const int saved = slots_.saved[s];
    // What is kept must fit before the rest does.
    for (int m = std::max(slots_.needed_to_keep(s, t), s == t ? 0 : saved); m < static_cast<int>(width_); ++m) {
      best[m] = std::min(best[m], s == t ? 0.0F : extra(s + 1, t)[m - saved]);
    }
  }

  // As `cut` of the parts that begin at s or s + 1 and end at t or t + 1, for each middle of a tile between them,
  // before anything of these parts is kept.
  void cut_pairs(std::size_t s, std::size_t t, std::size_t begin) {
    float* const best[4] = {cells(s, t), cells(s, t + 1), cells(s + 1, t), cells(s + 1, t + 1)};
    int pass[4];
    int useful = 0;
    for (std::size_t cell = 0; cell < 4; ++cell) {
      pass[cell] = needed_to_pass(s + cell / 2, t + cell % 2);
      const auto settled = std::partition_point(best[cell], best[cell] + width_,
                                                [least = again(s + cell / 2, begin)](float v) { return v > least; });
      useful = std::max(useful, static_cast<int>(settled - best[cell]));
    }
    const int from = *std::ranges::min_element(pass);
    if (from >= useful) {
      return;
    }
    std::array<kernels::PairOfSplits, kTile> splits;
    for (std::size_t k = 0; k < kTile; ++k) {
      const std::size_t middle = begin + k;
      const int left = from - slots_.input[middle];  // passing needs that much
      splits[k] = {{extra(middle, t) + left, extra(middle, t + 1) + left},
                   {extra(s, middle - 1) + from, extra(s + 1, middle - 1) + from},
                   {again(s, middle), again(s + 1, middle)}};
    }
    float* const cells_from[4] = {best[0] + from, best[1] + from, best[2] + from, best[3] + from};
    kernels::min_plus_pairs(cells_from, splits.data(), kTile, static_cast<std::size_t>(useful - from));
    for (std::size_t cell = 0; cell < 4; ++cell) {
      std::fill(best[cell] + from, best[cell] + std::min(pass[cell], useful), kNever);
    }
  }

  // Only x[middle] is kept, for each middle of a range.
  void cut(std::size_t s, std::size_t t, std::size_t begin, std::size_t end) {
    if (begin >= end) {
      return;
    }
    float* best = cells(s, t);
    const int pass = needed_to_pass(s, t);
    // A schedule with more memory is never slower, so those that a later cut can still better end where the
    // recomputation that every cut at `middle` costs is no longer below the best so far.
    auto useful = static_cast<int>(width_);
    for (std::size_t middle = begin; middle < end; ++middle) {
      const float least = again(s, middle);
      while (useful > 0 && best[useful - 1] <= least) {
        --useful;
      }
      const int held = slots_.input[middle];
      const int from = std::max(pass, held);
      if (from < useful) {
        kernels::min_plus(best + from, extra(middle, t) + (from - held), extra(s, middle - 1) + from, least,
                          static_cast<std::size_t>(useful - from));
      }
    }
  }

  std::size_t count_;
  std::size_t width_;
  std::size_t stride_;  // an odd number of cache lines, so that neighbours do not fall on the same places of a cache
  const Slots& slots_;
  std::vector<double> forward_;
  std::vector<double> backward_;
  std::vector<int> most_on_the_way_;  // by s and t: slots while s ... t - 1 run, beside the gradient behind t
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
      const float time =
          table.again(s, middle) + table.extra(middle, t)[memory - held] + table.extra(s, middle - 1)[memory];
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

}  // namespace

// The programme's own recursion, in bytes, of the least memory of each part [s, t].
std::int64_t least_chain_budget(const std::vector<ChainStage>& stages) {
  check_stages(stages);
  const std::size_t count = stages.size();
  const auto size = [&stages](std::size_t i) { return i == 0 ? 0 : stages[i - 1].output_bytes; };
  std::vector<std::int64_t> table(count * count);
  const auto least = [&table, count](std::size_t s, std::size_t t) -> std::int64_t& { return table[s * count + t]; };
  for (std::size_t t = 0; t < count; ++t) {
    const std::int64_t gradient = size(t + 1);
    least(t, t) = std::max(gradient + stages[t].saved_bytes + stages[t].forward_extra,
                           size(t + 1) + size(t) + stages[t].saved_bytes + stages[t].backward_extra);
    std::int64_t on_the_way = 0;  // while stages s + 1 ... t - 1 run, of which none is kept
    for (std::size_t s = t; s-- > 0;) {
      const ChainStage& first = stages[s];
      std::int64_t best = std::max({gradient + first.saved_bytes + first.forward_extra,
                                    size(s + 1) + size(s) + first.saved_bytes + first.backward_extra,
                                    first.saved_bytes + least(s + 1, t)});
      const std::int64_t pass = gradient + std::max(on_the_way, first.output_bytes + first.forward_extra);
      for (std::size_t middle = s + 1; middle <= t; ++middle) {
        best = std::min(best, std::max({pass, size(middle) + least(middle, t), least(s, middle - 1)}));
      }
      least(s, t) = best;
      on_the_way = std::max(on_the_way, size(s) + first.output_bytes + first.forward_extra);
    }
  }
  return least(0, count - 1);
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
    const std::int64_t least = least_chain_budget(stages);
    GRADWISE_CHECK(budget >= least, kPlanPlace, "no schedule fits into ", budget, " bytes, allowed: about ", least,
                   " bytes or more");
    fail_usage(kPlanPlace, "no schedule fits into ", budget, " bytes where sizes are rounded up to ", slots,
               " slots of it, though one takes ", least, " bytes: allowed: more slots, or a larger budget");
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
