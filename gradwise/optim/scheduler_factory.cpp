#include "gradwise/optim/scheduler_factory.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "gradwise/core/nearest_name.h"
#include "gradwise/optim/composed_schedules.h"
#include "gradwise/optim/cosine_schedules.h"
#include "gradwise/optim/cycle_schedules.h"
#include "gradwise/optim/decay_schedules.h"
#include "gradwise/optim/plateau_schedule.h"
#include "gradwise/optim/step_schedules.h"

namespace gradwise {
namespace {

constexpr const char* kPlace = "schedule";

/// What a schedule is made from, beside its options.
struct Setting {
  std::vector<Rate>& rates;
  std::vector<double> lrs;  // the optimizer's, before any schedule
  std::int64_t total;       // steps in all; 0 or less where not known
};

// The steps that the warm-up leaves.
std::int64_t span(const ScheduleOptions& o, const Setting& setting) {
  GRADWISE_CHECK(setting.total > 0, kPlace, "\"", o.name,
                 "\" needs the length of the training, which is not known: set total_steps");
  GRADWISE_CHECK(o.warmup_steps < setting.total, kPlace, "warmup_steps is ", o.warmup_steps, ", allowed: below the ",
                 setting.total, " steps in all (train longer, or lower train.schedule.warmup_steps)");
  return setting.total - o.warmup_steps;
}

std::vector<double> highest_lrs(const ScheduleOptions& o, const Setting& setting) {
  return o.max_lr > 0 ? std::vector<double>{o.max_lr} : setting.lrs;
}

using Part = std::unique_ptr<ChainableScheduler>;

Part make_step(const ScheduleOptions& o, const Setting& setting) {
  return std::make_unique<StepLR>(setting.rates,
                                  StepLrOptions{.step_size = o.step_size, .gamma = o.gamma > 0 ? o.gamma : 0.1});
}

Part make_multi_step(const ScheduleOptions& o, const Setting& setting) {
  return std::make_unique<MultiStepLR>(
      setting.rates, MultiStepLrOptions{.milestones = o.milestones, .gamma = o.gamma > 0 ? o.gamma : 0.1});
}

Part make_exponential(const ScheduleOptions& o, const Setting& setting) {
  return std::make_unique<ExponentialLR>(setting.rates, ExponentialLrOptions{.gamma = o.gamma});
}

Part make_constant(const ScheduleOptions& o, const Setting& setting) {
  return std::make_unique<ConstantLR>(
      setting.rates, ConstantLrOptions{.factor = o.factor > 0 ? o.factor : 1.0, .total_iters = span(o, setting)});
}

Part make_linear(const ScheduleOptions& o, const Setting& setting) {
  // The groups share one factor: the first one ends at min_lr, the others in proportion.
  const double end = o.min_lr == 0 ? 0.0 : o.min_lr / setting.lrs.front();
  GRADWISE_CHECK(end <= 1, kPlace, "min_lr is ", o.min_lr, ", allowed: up to the learning rate, ", setting.lrs.front());
  return std::make_unique<LinearLR>(
      setting.rates, LinearLrOptions{.start_factor = 1.0, .end_factor = end, .total_iters = span(o, setting)});
}

Part make_polynomial(const ScheduleOptions& o, const Setting& setting) {
  return std::make_unique<PolynomialLR>(setting.rates,
                                        PolynomialLrOptions{.total_iters = span(o, setting), .power = o.power});
}

Part make_cosine(const ScheduleOptions& o, const Setting& setting) {
  return std::make_unique<CosineAnnealingLR>(setting.rates,
                                             CosineAnnealingLrOptions{.t_max = span(o, setting), .eta_min = o.min_lr});
}

Part make_cosine_restarts(const ScheduleOptions& o, const Setting& setting) {
  return std::make_unique<CosineAnnealingWarmRestarts>(
      setting.rates, CosineAnnealingWarmRestartsOptions{.t_0 = o.t_0, .t_mult = o.t_mult, .eta_min = o.min_lr});
}

Part make_one_cycle(const ScheduleOptions& o, const Setting& setting) {
  OneCycleLrOptions cycle;
  cycle.max_lr = highest_lrs(o, setting);
  cycle.total_steps = span(o, setting);
  cycle.pct_start = o.pct_start;
  cycle.anneal_strategy = o.anneal;
  cycle.cycle_momentum = o.cycle_momentum;
  cycle.div_factor = o.div_factor;
  cycle.final_div_factor = o.final_div_factor;
  cycle.three_phase = o.three_phase;
  return std::make_unique<OneCycleLR>(setting.rates, std::move(cycle));
}

Part make_cyclic(const ScheduleOptions& o, const Setting& setting) {
  CyclicLrOptions cycle;
  cycle.max_lr = highest_lrs(o, setting);
  cycle.base_lr = cycle.max_lr;
  for (double& lr : cycle.base_lr) {
    lr = o.base_lr > 0 ? o.base_lr : lr / o.div_factor;
  }
  cycle.step_size_up = o.step_size_up;
  cycle.mode = o.mode;
  cycle.gamma = o.gamma > 0 ? o.gamma : 1.0;
  cycle.cycle_momentum = o.cycle_momentum;
  return std::make_unique<CyclicLR>(setting.rates, std::move(cycle));
}

struct Maker {
  const char* name;
  Part (*make)(const ScheduleOptions&, const Setting&);
};

constexpr Maker kMakers[] = {{"step", make_step},
                             {"multi_step", make_multi_step},
                             {"exponential", make_exponential},
                             {"linear", make_linear},
                             {"polynomial", make_polynomial},
                             {"cosine", make_cosine},
                             {"cosine_restarts", make_cosine_restarts},
                             {"one_cycle", make_one_cycle},
                             {"cyclic", make_cyclic},
                             {"constant", make_constant}};

// Null for "none".
Part make_named(const ScheduleOptions& o, const Setting& setting) {
  for (const Maker& maker : kMakers) {
    if (o.name == maker.name) {
      return maker.make(o, setting);
    }
  }
  return nullptr;
}

Part make_warmup(const ScheduleOptions& o, std::vector<Rate>& rates) {
  return std::make_unique<LinearLR>(
      rates, LinearLrOptions{.start_factor = o.warmup_start_factor, .end_factor = 1.0, .total_iters = o.warmup_steps});
}

std::unique_ptr<Scheduler> make_plateau(const ScheduleOptions& o, std::vector<Rate>& rates) {
  GRADWISE_CHECK(o.warmup_steps == 0, kPlace, "warmup_steps is ", o.warmup_steps, ", allowed with \"plateau\": 0");
  ReduceLrOnPlateauOptions plateau;
  plateau.mode = o.metric_mode;
  plateau.factor = o.factor > 0 ? o.factor : 0.1;
  plateau.patience = o.patience;
  plateau.threshold = o.threshold;
  plateau.cooldown = o.cooldown;
  plateau.min_lr = {o.min_lr};
  return std::make_unique<ReduceLROnPlateau>(rates, std::move(plateau));
}

void check_name(const std::string& name) {
  if (std::ranges::find(schedule_names(), name) != schedule_names().end()) {
    return;
  }
  fail_usage(kPlace, "name is \"", name, "\", allowed: ", comma_separated(schedule_names()),
             did_you_mean(name, schedule_names()));
}

}  // namespace

const std::vector<std::string>& schedule_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> list = {"none"};
    for (const Maker& maker : kMakers) {
      list.emplace_back(maker.name);
    }
    list.emplace_back("plateau");
    return list;
  }();
  return names;
}

std::unique_ptr<Scheduler> make_scheduler(const ScheduleOptions& options, std::vector<Rate>& rates,
                                          std::int64_t total_steps) {
  check_name(options.name);
  check_fields(kPlace, options);
  GRADWISE_CHECK(!rates.empty(), kPlace, "there is no parameter group");
  if (options.name == "plateau") {
    return make_plateau(options, rates);
  }
  const bool too_short = options.name == "one_cycle" && options.total_steps > 0 && options.total_steps < total_steps;
  GRADWISE_CHECK(!too_short, kPlace, "total_steps is ", options.total_steps,
                 ", allowed with \"one_cycle\": >= ", total_steps, ", the training's own length");
  Setting setting{rates, {}, options.total_steps > 0 ? options.total_steps : total_steps};
  for (const Rate& rate : rates) {
    setting.lrs.push_back(std::isnan(rate.initial_lr) ? rate.lr : rate.initial_lr);
  }
  if (options.warmup_steps == 0) {
    return make_named(options, setting);
  }
  Part warmup = make_warmup(options, rates);
  Part named = make_named(options, setting);
  if (named == nullptr) {
    return warmup;
  }
  return std::make_unique<SequentialLR>(rates, scheduler_list(std::move(warmup), std::move(named)),
                                        std::vector<std::int64_t>{options.warmup_steps});
}

}  // namespace gradwise
