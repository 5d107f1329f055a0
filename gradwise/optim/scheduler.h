#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace gradwise {

/// Marks a value of a `Rate` that is not there.
inline constexpr double kUnset = std::numeric_limits<double>::quiet_NaN();

/// What a scheduler may set in one parameter group. The caller owns the rates, one per group, and copies them into
/// the optimizer after the scheduler was made and after each of its steps.
struct Rate {
  double lr = 0;
  double initial_lr = kUnset;  ///< lr before any schedule; the first scheduler that is made sets it from `lr`
  double momentum = kUnset;    ///< momentum of SGD and RMSprop, beta1 of Adam; unset where the optimizer has neither
};

/// A learning-rate schedule. The values follow the recurrences of `torch.optim.lr_scheduler` (torch 2.13) in the same
/// order of floating-point operations, so that they equal Python's bit for bit. As there, making a scheduler sets
/// the rates for the first step.
///
///   std::vector<Rate> rates = {{.lr = 0.1}};
///   CosineAnnealingLR schedule(rates, {.t_max = 1000});
///   schedule.step();  // after each optimizer step; rates[0].lr is the next step's
class Scheduler {
 public:
  /// `rates` must outlive the scheduler.
  explicit Scheduler(std::vector<Rate>& rates) : rates_(rates) {}
  virtual ~Scheduler() = default;
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  /// Goes on by one step (or epoch: the unit is the caller's). Only ReduceLROnPlateau uses `metric`, and needs it.
  void step(std::optional<double> metric = std::nullopt) { advance(metric); }
  [[nodiscard]] virtual bool wants_metric() const { return false; }

  /// What changes from step to step, the rates included, under the names of torch's `state_dict` where it has them
  /// (`_last_momentum` is ours: torch keeps it in the optimizer). Options are not part of it.
  [[nodiscard]] virtual nlohmann::json state() const;
  /// Takes up `state()` of a scheduler made with the same options, and sets the rates. Throws an Error (failure)
  /// where an entry is missing or the number of groups differs.
  virtual void load_state(const nlohmann::json& state);

  [[nodiscard]] std::vector<Rate>& rates() const { return rates_; }

 protected:
  virtual void advance(std::optional<double> metric) = 0;

 private:
  std::vector<Rate>& rates_;
};

/// A scheduler that needs no metric and so may be a part of a ChainedScheduler or a SequentialLR.
class ChainableScheduler : public Scheduler {
 public:
  using Scheduler::Scheduler;
  /// Sets the rates for the first step; torch's `_initial_step`.
  virtual void begin() = 0;
  /// Takes back one step in the count alone, the rates stay; torch's `SequentialLR.recursive_undo`.
  virtual void rewind() = 0;
};

/// An option that is one value for all parameter groups or one value for each: gives one for each.
/// Throws an Error (usage) for any other number of values.
[[nodiscard]] std::vector<double> per_group(const char* place, const std::string& option,
                                            const std::vector<double>& values, std::size_t groups);

}  // namespace gradwise
