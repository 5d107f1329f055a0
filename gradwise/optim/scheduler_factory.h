#pragma once

#include <memory>
#include <string>

#include "gradwise/core/fields.h"
#include "gradwise/optim/scheduler.h"

namespace gradwise {

/// A learning-rate schedule as a configuration names it. Each schedule uses the fields that it needs; 0 stands for
/// "the schedule's own default" where the field says so. Lengths count scheduler steps, as `per` says.
struct ScheduleOptions {
  std::string name = "none";
  std::string per = "step";
  std::int64_t warmup_steps = 0;
  double warmup_start_factor = 0.01;
  std::int64_t total_steps = 0;
  double min_lr = 0;
  std::int64_t step_size = 0;
  std::vector<std::int64_t> milestones = {};
  double gamma = 0;
  double power = 1;
  std::int64_t t_0 = 0;
  std::int64_t t_mult = 1;
  double max_lr = 0;
  double pct_start = 0.3;
  double div_factor = 25;
  double final_div_factor = 1e4;
  bool three_phase = false;
  std::string anneal = "cos";
  double base_lr = 0;
  std::int64_t step_size_up = 2000;
  std::string mode = "triangular";
  bool cycle_momentum = true;
  std::int64_t patience = 10;
  double factor = 0;
  double threshold = 1e-4;
  std::int64_t cooldown = 0;
  std::string metric_mode = "min";
};

/// Every name that a configuration may give.
[[nodiscard]] const std::vector<std::string>& schedule_names();

template <class Fields>
void describe(Fields& fields, ScheduleOptions& o) {
  fields.add("name", o.name, "schedule of the learning rate", one_of(schedule_names()));
  fields.add("per", o.per, "whether the schedule goes on at each optimizer step or each epoch",
             one_of({"step", "epoch"}));
  fields.add("warmup_steps", o.warmup_steps, "steps of a linear warm-up before the schedule", at_least(0));
  fields.add("warmup_start_factor", o.warmup_start_factor, "part of the rate at which the warm-up starts",
             Allowed{"> 0 and <= 1", [](double x) { return x > 0 && x <= 1; }, {}});
  fields.add("total_steps", o.total_steps, "steps in all, warm-up included; 0: the training's length", at_least(0));
  fields.add("min_lr", o.min_lr, "least rate (linear, cosine, cosine_restarts, plateau)", at_least(0));
  fields.add("step_size", o.step_size, "steps between falls (step)", at_least(0));
  fields.add("milestones", o.milestones, "steps of the falls, counted from the end of the warm-up (multi_step)",
             at_least(0));
  fields.add("gamma", o.gamma,
             "factor of a fall or step; 0: 0.1 for step and multi_step, 1 for cyclic; exponential needs one",
             at_least(0));
  fields.add("power", o.power, "power of the part that is left (polynomial)", at_least(0));
  fields.add("t_0", o.t_0, "steps until the first restart (cosine_restarts)", at_least(0));
  fields.add("t_mult", o.t_mult, "factor of the period after each restart (cosine_restarts)", at_least(1));
  fields.add("max_lr", o.max_lr, "highest rate; 0: the optimizer's (one_cycle, cyclic)", at_least(0));
  fields.add("pct_start", o.pct_start, "part of the cycle in which the rate rises (one_cycle)", between(0, 1));
  fields.add("div_factor", o.div_factor, "highest rate over the first (one_cycle, and cyclic without base_lr)",
             positive());
  fields.add("final_div_factor", o.final_div_factor, "first rate over the last (one_cycle)", positive());
  fields.add("three_phase", o.three_phase, "fall as long as the rise, then on to the last rate (one_cycle)",
             anything());
  fields.add("anneal", o.anneal, "shape of rise and fall (one_cycle)", one_of({"cos", "linear"}));
  fields.add("base_lr", o.base_lr, "lowest rate; 0: the highest over div_factor (cyclic)", at_least(0));
  fields.add("step_size_up", o.step_size_up, "steps from the lowest rate to the highest (cyclic)", at_least(1));
  fields.add("mode", o.mode, "same height, half of it each cycle, or gamma^step of it (cyclic)",
             one_of({"triangular", "triangular2", "exp_range"}));
  fields.add("cycle_momentum", o.cycle_momentum, "lead momentum or beta1 against the rate (one_cycle, cyclic)",
             anything());
  fields.add("patience", o.patience, "steps without a better metric that are let pass (plateau)", at_least(0));
  fields.add("factor", o.factor, "factor of the rate; 0: 0.1 for plateau, 1 for constant", between(0, 1));
  fields.add("threshold", o.threshold, "part by which the metric must be better to count (plateau)", at_least(0));
  fields.add("cooldown", o.cooldown, "steps after a fall that don't count (plateau)", at_least(0));
  fields.add("metric_mode", o.metric_mode, "whether a low or a high metric is good (plateau)", one_of({"min", "max"}));
}

/// Makes the schedule for a training of `total_steps` scheduler steps (0 or less where that is not known). A warm-up
/// is a LinearLR before it, and the schedule then has the rest of the steps. Gives null for "none" without a warm-up.
/// Throws an Error (usage) for an unknown name, with the known ones, and for values that don't go together.
[[nodiscard]] std::unique_ptr<Scheduler> make_scheduler(const ScheduleOptions& options, std::vector<Rate>& rates,
                                                        std::int64_t total_steps);

}  // namespace gradwise
