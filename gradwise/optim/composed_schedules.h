#pragma once

#include <memory>
#include <utility>

#include "gradwise/optim/lr_scheduler.h"

/// Schedules made of others on the same rates. Names and values as in `torch.optim.lr_scheduler`; as there, the parts
/// are made one after the other before, each setting the rates as if it were alone.
namespace gradwise {

using SchedulerList = std::vector<std::unique_ptr<ChainableScheduler>>;

/// `scheduler_list(std::make_unique<LinearLR>(rates), std::make_unique<ExponentialLR>(rates, …))`
template <class... Schedulers>
[[nodiscard]] SchedulerList scheduler_list(std::unique_ptr<Schedulers>... schedulers) {
  SchedulerList list;
  (list.push_back(std::move(schedulers)), ...);
  return list;
}

/// What ChainedScheduler and SequentialLR have in common. Throws an Error (usage) where there is no part, or one that
/// works on other rates.
class ComposedScheduler : public ChainableScheduler {
 public:
  void begin() final { step(); }
  void rewind() final;
  /// The parts' states under `_schedulers`.
  [[nodiscard]] nlohmann::json state() const override;
  void load_state(const nlohmann::json& state) override;

 protected:
  ComposedScheduler(const char* place, std::vector<Rate>& rates, SchedulerList schedulers);
  SchedulerList schedulers_;
};

/// Steps all its parts one after the other at each step.
class ChainedScheduler final : public ComposedScheduler {
 public:
  ChainedScheduler(std::vector<Rate>& rates, SchedulerList schedulers);

 private:
  void advance(std::optional<double> metric) override;
};

/// Steps one part until the first milestone, the next one until the second, and so on. Each part counts its steps
/// from its own milestone. Milestones must not fall, and there is one less of them than of parts; parts after the
/// first must be LRSchedulers, as torch can't restart a composed one.
class SequentialLR final : public ComposedScheduler {
 public:
  SequentialLR(std::vector<Rate>& rates, SchedulerList schedulers, std::vector<std::int64_t> milestones);

  [[nodiscard]] nlohmann::json state() const override;
  void load_state(const nlohmann::json& state) override;

 private:
  void check_parts() const;
  void advance(std::optional<double> metric) override;
  /// Index of the part whose turn it is at step `last_epoch_`.
  [[nodiscard]] std::size_t active() const;

  std::vector<std::int64_t> milestones_;
  std::int64_t last_epoch_ = 0;
};

}  // namespace gradwise
