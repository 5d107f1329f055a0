#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "gradwise/core/fields.h"
#include "gradwise/optim/scheduler.h"

namespace gradwise {

/// Base of the schedules that go on from step to step by themselves; torch's `LRScheduler`. A schedule of your own
/// says how a group's rate follows from the step and the rate before, and ends its constructor with `begin()`:
///
///   class Halving final : public LRScheduler {
///    public:
///     explicit Halving(std::vector<Rate>& rates) : LRScheduler(rates) { begin(); }
///    private:
///     double next_lr(std::size_t group) const override {
///       return is_initial_ ? rates()[group].lr : rates()[group].lr / 2;
///     }
///   };
class LRScheduler : public ChainableScheduler {
 public:
  void begin() final;
  void rewind() final { --last_epoch_; }
  /// Starts anew at step 0, whatever the rates are by now; torch's `_update_lr(0)`.
  void restart();

  [[nodiscard]] nlohmann::json state() const override;
  void load_state(const nlohmann::json& state) override;

 protected:
  explicit LRScheduler(std::vector<Rate>& rates);

  void advance(std::optional<double> metric) override;
  /// The group's rate at step `last_epoch_`, with the rate of the step before still in `rates()`.
  [[nodiscard]] virtual double next_lr(std::size_t group) const = 0;
  /// The group's rate after `restart()`; the schedules that have a closed form in torch give its value at step 0.
  [[nodiscard]] virtual double restart_lr(std::size_t group) const { return next_lr(group); }
  /// The group's momentum (or beta1) at step `last_epoch_`.
  [[nodiscard]] virtual double next_momentum(std::size_t group) const { return rates()[group].momentum; }

  std::int64_t last_epoch_ = -1;  ///< steps since the start, the first being 0
  bool is_initial_ = false;       ///< within `begin()`
  std::vector<double> base_lrs_;  ///< one per group

 private:
  void update(bool restarting);
};

/// For factors of the rate by which the schedule divides as well.
[[nodiscard]] inline Allowed above_zero_to_one() {
  return {"> 0 and <= 1", [](double x) { return x > 0 && x <= 1; }, {}};
}

/// The options, once every field of theirs was found to hold an allowed value.
template <class Options>
[[nodiscard]] Options checked(const char* place, Options options) {
  check_fields(place, options);
  return options;
}

}  // namespace gradwise
