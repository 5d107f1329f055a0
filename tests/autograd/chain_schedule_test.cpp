// Planned schedules against all schedules there are, tried one by one.
#include "gradwise/autograd/checkpoint/chain_schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <random>
#include <string>

#include "gradwise/autograd/checkpoint/chain_simulation.h"
#include "tests/data/error_of.h"

namespace gradwise {
namespace {

using Schedule = std::shared_ptr<const ChainSchedule>;

// Every schedule of the stages first ... last.
std::vector<Schedule> all_schedules(std::int64_t first, std::int64_t last) {
  std::vector<Schedule> found;
  const auto add = [&](std::int64_t middle, Schedule again, Schedule rest) {
    found.push_back(std::make_shared<const ChainSchedule>(ChainSchedule{first, last, middle, again, rest}));
  };
  if (first == last) {
    add(first, nullptr, nullptr);
    return found;
  }
  for (const Schedule& rest : all_schedules(first + 1, last)) {
    add(first, nullptr, rest);
  }
  for (std::int64_t middle = first + 1; middle <= last; ++middle) {
    const std::vector<Schedule> rests = all_schedules(middle, last);
    for (const Schedule& again : all_schedules(first, middle - 1)) {
      for (const Schedule& rest : rests) {
        add(middle, again, rest);
      }
    }
  }
  return found;
}

class RandomChains {
 public:
  explicit RandomChains(unsigned seed) : random_(seed) {}

  std::vector<ChainStage> next(std::int64_t count) {
    std::vector<ChainStage> stages;
    for (std::int64_t i = 0; i < count; ++i) {
      ChainStage s;
      s.forward_seconds = whole(1, 9);
      s.backward_seconds = whole(1, 9);
      s.output_bytes = whole(1, 5);
      s.saved_bytes = s.output_bytes + whole(0, 6);
      s.forward_extra = whole(0, 2);
      s.backward_extra = whole(-s.output_bytes, 2);
      stages.push_back(s);
    }
    return stages;
  }
  std::int64_t whole(std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(random_);
  }

 private:
  std::mt19937 random_;
};

// The least time of all schedules whose simulated peak stays within the budget.
double best_by_trial(const std::vector<ChainStage>& stages, const std::vector<Schedule>& schedules,
                     std::int64_t budget) {
  double best = std::numeric_limits<double>::infinity();
  for (const Schedule& schedule : schedules) {
    const SimulatedChain run = simulate_chain(stages, *schedule);
    if (run.peak_bytes <= budget) {
      best = std::min(best, run.seconds);
    }
  }
  return best;
}

// One slot a byte, so that nothing is rounded.
TEST(ChainSchedule, EqualsBruteForceOnTenThousandChains) {
  RandomChains chains(1);
  // By the number of stages. Nine have 41,586 schedules (a Schröder number), two have two.
  constexpr int kChains[] = {0, 1000, 2000, 2500, 1860, 1500, 600, 300, 200, 40};
  std::vector<std::int64_t> counts;
  std::vector<std::vector<Schedule>> schedules(std::size(kChains));
  for (std::size_t n = 1; n < std::size(kChains); ++n) {
    counts.insert(counts.end(), static_cast<std::size_t>(kChains[n]), static_cast<std::int64_t>(n));
    schedules[n] = all_schedules(0, static_cast<std::int64_t>(n) - 1);
  }
  ASSERT_EQ(counts.size(), 10'000);
  EXPECT_EQ(schedules.back().size(), 41'586);
  int differing = 0;
  for (std::size_t trial = 0; trial < counts.size(); ++trial) {
    const std::int64_t n = counts[trial];
    const std::vector<ChainStage> stages = chains.next(n);
    const std::int64_t least = least_chain_budget(stages);
    const std::int64_t budget = chains.whole(std::max<std::int64_t>(1, least - 2), least + 12);
    const double expected = best_by_trial(stages, schedules[static_cast<std::size_t>(n)], budget);
    double found = std::numeric_limits<double>::infinity();
    if (budget >= least) {
      const PlannedChain planned = schedule_chain(stages, budget, budget);
      found = planned.seconds;
      EXPECT_LE(planned.peak_bytes, budget) << trial;
    } else {
      EXPECT_ERROR_WITH("no schedule fits into", schedule_chain(stages, budget, budget));
    }
    differing += found != expected;
    EXPECT_EQ(found, expected) << "trial " << trial << ", stages " << n << ", budget " << budget << ", least " << least;
    if (differing > 5) {
      FAIL() << "stops here";
    }
  }
}

// Theorem 1 of Beaumont et al. word for word, one byte a slot: the least seconds of all stages beyond running each
// once.
double by_theorem(const std::vector<ChainStage>& stages, std::int64_t budget) {
  const auto n = std::ssize(stages);
  const auto stage = [&](std::int64_t i) -> const ChainStage& { return stages[static_cast<std::size_t>(i)]; };
  const auto size = [&](std::int64_t i) { return i == 0 ? 0 : stage(i - 1).output_bytes; };
  std::vector<double> table(static_cast<std::size_t>(n * n * (budget + 1)), std::numeric_limits<double>::infinity());
  const auto least = [&](std::int64_t s, std::int64_t t, std::int64_t m) -> double& {
    return table[static_cast<std::size_t>((s * n + t) * (budget + 1) + m)];
  };
  for (std::int64_t t = 0; t < n; ++t) {
    for (std::int64_t s = t; s >= 0; --s) {
      const std::int64_t kept = std::max(size(t + 1) + stage(s).saved_bytes + stage(s).forward_extra,
                                         size(s + 1) + size(s) + stage(s).saved_bytes + stage(s).backward_extra);
      std::int64_t pass = stage(s).output_bytes + stage(s).forward_extra;
      for (std::int64_t j = s + 1; j < t; ++j) {
        pass = std::max(pass, size(j) + stage(j).output_bytes + stage(j).forward_extra);
      }
      for (std::int64_t m = 0; m <= budget; ++m) {
        double& best = least(s, t, m);
        if (m >= kept && (s == t || m >= stage(s).saved_bytes)) {
          best = s == t ? 0 : least(s + 1, t, m - stage(s).saved_bytes);
        }
        double again = 0;
        for (std::int64_t middle = s + 1; middle <= t && m >= size(t + 1) + pass; ++middle) {
          again += stage(middle - 1).forward_seconds;
          if (m >= size(middle)) {
            best = std::min(best, again + least(middle, t, m - size(middle)) + least(s, middle - 1, m));
          }
        }
      }
    }
  }
  return least(0, n - 1, budget);
}

// So many stages that the table is filled by tiles and by pairs of parts.
TEST(ChainSchedule, EqualsTheTheoremOnLongChains) {
  RandomChains chains(5);
  for (const std::int64_t n : {65, 98, 131}) {
    const std::vector<ChainStage> stages = chains.next(n);
    const std::int64_t least = least_chain_budget(stages);
    for (const std::int64_t budget : {least, least + 7, least + 40}) {
      const PlannedChain planned = schedule_chain(stages, budget, budget);
      EXPECT_EQ(planned.seconds - planned.least_seconds, by_theorem(stages, budget)) << n << ' ' << budget;
      EXPECT_LE(planned.peak_bytes, budget);
    }
    EXPECT_EQ(by_theorem(stages, least - 1), std::numeric_limits<double>::infinity());
  }
}

TEST(ChainSchedule, WithEnoughMemoryKeepsEverything) {
  RandomChains chains(2);
  const std::vector<ChainStage> stages = chains.next(20);
  const PlannedChain planned = schedule_chain(stages, 100000);
  EXPECT_DOUBLE_EQ(planned.seconds, planned.least_seconds);
}

TEST(ChainSchedule, NeverTakesMoreThanItsBudgetWhereBytesAreRoundedToSlots) {
  RandomChains chains(3);
  for (int trial = 0; trial < 200; ++trial) {
    std::vector<ChainStage> stages = chains.next(30);
    for (ChainStage& s : stages) {
      s.output_bytes = s.output_bytes * 1000 + chains.whole(0, 999);
      s.saved_bytes = s.saved_bytes * 1000 + 999;
    }
    const std::int64_t budget = least_chain_budget(stages) * chains.whole(12, 40) / 10;
    const PlannedChain planned = schedule_chain(stages, budget, 200);
    EXPECT_LE(planned.peak_bytes, budget);
    EXPECT_GE(planned.seconds, planned.least_seconds);
  }
}

// Forward steps beyond the first of each in Revolve's optimum for `steps` equal ones with `checkpoints` beside the
// input: the recursion of Griewank and Walther, "Algorithm 799: Revolve", 2000.
double revolve(std::int64_t steps, std::int64_t checkpoints) {
  if (steps == 1) {
    return 0;
  }
  if (checkpoints == 0) {
    return static_cast<double>(steps * (steps - 1)) / 2;
  }
  double best = std::numeric_limits<double>::infinity();
  for (std::int64_t j = 1; j < steps; ++j) {
    best = std::min(best, static_cast<double>(j) + revolve(j, checkpoints) + revolve(steps - j, checkpoints - 1));
  }
  return best;
}

// What backward needs of a stage is so large that only one stage's fits: only checkpoints are left to choose.
TEST(ChainSchedule, OfEqualStagesIsRevolves) {
  for (const std::int64_t steps : {2, 5, 9, 11}) {
    const std::vector<ChainStage> stages(static_cast<std::size_t>(steps), {1, 1, 1, 100, 0, 0});
    const std::int64_t least = least_chain_budget(stages);
    for (std::int64_t more = 0; more < 4; ++more) {
      const PlannedChain planned = schedule_chain(stages, least + more, least + more);
      EXPECT_EQ(planned.seconds - planned.least_seconds, revolve(steps, more)) << steps << ' ' << more;
    }
  }
}

TEST(ChainSchedule, RefusesWhatIsNoChain) {
  EXPECT_ERROR_WITH("the chain has no stage", schedule_chain({}, 10));
  EXPECT_ERROR_WITH("stage 0 has a negative time or size", schedule_chain({{-1, 1, 1, 1, 0, 0}}, 10));
  EXPECT_ERROR_WITH("stage 0 saves 1 bytes, its output alone has 2", schedule_chain({{1, 1, 2, 1, 0, 0}}, 10));
  EXPECT_ERROR_WITH("the memory budget is 0 bytes", schedule_chain({{1, 1, 1, 1, 0, 0}}, 0));
  EXPECT_ERROR_WITH("slots is 0", schedule_chain({{1, 1, 1, 1, 0, 0}}, 10, 0));
  EXPECT_ERROR_WITH("no schedule fits into 1 bytes, allowed: about ", schedule_chain({{1, 1, 1, 4, 0, 0}}, 1));
}

TEST(ChainSchedule, SaysWhereOnlyMoreSlotsWouldDo) {
  const std::vector<ChainStage> stages = {{1, 1, 1, 4, 0, 0}, {1, 1, 1, 4, 0, 0}};
  const std::int64_t least = least_chain_budget(stages);
  EXPECT_ERROR_WITH("rounded up to 2 slots of it, though one takes " + std::to_string(least) + " bytes",
                    schedule_chain(stages, least, 2));
  EXPECT_EQ(schedule_chain(stages, least, least).peak_bytes, least);
}

// Sizes beyond what an int holds, in slots of one byte: none may wrap round into what fits.
TEST(ChainSchedule, RefusesSizesFarBeyondTheBudget) {
  const std::int64_t huge = std::int64_t{1} << 60;
  const std::vector<ChainStage> stages = {{1, 1, huge, huge, huge, -huge}, {1, 1, huge, huge, huge, huge}};
  EXPECT_ERROR_WITH("no schedule fits into 1000 bytes", schedule_chain(stages, 1000, 1000));
}

TEST(ChainSchedule, IsSimulatedOnlyOnItsOwnStages) {
  RandomChains chains(4);
  const std::vector<ChainStage> stages = chains.next(4);
  const Schedule whole = schedule_chain(stages, 100000).schedule;
  EXPECT_ERROR_WITH("the schedule is not one of 5 stages", simulate_chain(chains.next(5), *whole));
  EXPECT_ERROR_WITH("the schedule is not one of 0 stages", simulate_chain({}, *whole));
  EXPECT_ERROR_WITH("is not one of 4", simulate_chain(stages, {0, 3, 2, nullptr, nullptr}));
}

}  // namespace
}  // namespace gradwise
