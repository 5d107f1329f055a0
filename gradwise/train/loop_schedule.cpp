#include <algorithm>
#include <utility>

#include "gradwise/train/loop_impl.h"

namespace gradwise {

// A training that was made longer or shorter takes the new schedule's rates from where it stands: what a schedule
// computes from its last rate would else go on from the old end, zero for many.
void AutogradTrainingLoop::Impl::take_up_schedule() {
  if (!schedule || resumed_schedule.is_null()) {
    return;
  }
  const nlohmann::json saved = std::exchange(resumed_schedule, nullptr);
  if (resumed_length == schedule_length || schedule->wants_metric()) {
    schedule->load_state(saved);
  } else {
    for (std::int64_t i = 0; i < schedule_steps; ++i) {
      schedule->step(std::nullopt);
    }
  }
  apply_rates();
}

void AutogradTrainingLoop::Impl::make_schedule(const BatchSource& source) {
  if (schedule) {
    return;
  }
  std::int64_t total = options.epochs;
  if (options.schedule.per == "step") {
    const std::int64_t batches = source.batches_per_epoch();
    total =
        batches > 0 ? options.epochs * ((batches + options.accumulate - 1) / options.accumulate) : options.max_steps;
    if (options.max_steps > 0) {
      total = std::min(total, options.max_steps);
    }
  }
  schedule = make_scheduler(options.schedule, rates, total);
  schedule_length = total;
  if (schedule) {
    apply_rates();
    take_up_schedule();
  }
}

void AutogradTrainingLoop::Impl::apply_rates() {
  std::vector<Rate> scaled = rates;
  for (Rate& rate : scaled) {
    rate.lr *= rate_factor;
  }
  optimizer.set_rates(scaled);
}

void AutogradTrainingLoop::Impl::step_schedule(const char* unit, std::optional<double> metric) {
  const bool own_unit = metric.has_value() || options.schedule.per == unit;
  if (schedule && own_unit && schedule->wants_metric() == metric.has_value()) {
    schedule->step(metric);
    ++schedule_steps;
    apply_rates();
  }
}

}  // namespace gradwise
