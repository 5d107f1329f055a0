#pragma once

#include <functional>
#include <string>

#include "gradwise/optim/lr_scheduler.h"

/// Schedules that lead the rate up and down, and the momentum against it. Options that are lists hold one value for
/// all parameter groups or one for each. Names, options and values as in `torch.optim.lr_scheduler`.
namespace gradwise {

struct OneCycleLrOptions {
  std::vector<double> max_lr = {};  ///< to be given
  std::int64_t total_steps = 0;     ///< to be given
  double pct_start = 0.3;
  std::string anneal_strategy = "cos";
  bool cycle_momentum = true;
  std::vector<double> base_momentum = {0.85};
  std::vector<double> max_momentum = {0.95};
  double div_factor = 25.0;
  double final_div_factor = 1e4;
  bool three_phase = false;
};

template <class Fields>
void describe(Fields& fields, OneCycleLrOptions& o) {
  fields.add("max_lr", o.max_lr, "highest rate", at_least(0));
  fields.add("total_steps", o.total_steps, "steps in the cycle", at_least(1));
  fields.add("pct_start", o.pct_start, "part of the cycle in which the rate rises", between(0, 1));
  fields.add("anneal_strategy", o.anneal_strategy, "shape of the rise and the fall", one_of({"cos", "linear"}));
  fields.add("cycle_momentum", o.cycle_momentum, "lead the momentum (or beta1) against the rate", anything());
  fields.add("base_momentum", o.base_momentum, "momentum at the highest rate", between(0, 1));
  fields.add("max_momentum", o.max_momentum, "momentum at the lowest rates", between(0, 1));
  fields.add("div_factor", o.div_factor, "max_lr over the first rate", positive());
  fields.add("final_div_factor", o.final_div_factor, "first rate over the last", positive());
  fields.add("three_phase", o.three_phase, "fall as long as the rise, then on to the last rate", anything());
}

/// One rise from max_lr / div_factor to max_lr and one fall to a rate final_div_factor below the first (Smith, Topin
/// 2018, "Super-Convergence"). More than total_steps steps are an Error (usage).
class OneCycleLR final : public LRScheduler {
 public:
  OneCycleLR(std::vector<Rate>& rates, OneCycleLrOptions options);

 private:
  /// The values between which the phases of one parameter group lead.
  struct Levels {
    double initial_lr = 0;
    double max_lr = 0;
    double min_lr = 0;
    double base_momentum = 0;
    double max_momentum = 0;
  };
  struct Phase {
    double end_step;
    double Levels::*start_lr;
    double Levels::*end_lr;
    double Levels::*start_momentum;
    double Levels::*end_momentum;
  };
  /// A phase and the part of it that is done.
  struct Position {
    const Phase* phase;
    double pct;
  };

  void make_phases();
  [[nodiscard]] Position position() const;
  [[nodiscard]] double anneal(double start, double end, double pct) const;
  [[nodiscard]] double next_lr(std::size_t group) const override;
  [[nodiscard]] double next_momentum(std::size_t group) const override;

  OneCycleLrOptions options_;
  std::vector<Levels> levels_;  // one per group
  std::vector<Phase> phases_;
};

struct CyclicLrOptions {
  std::vector<double> base_lr = {};  ///< to be given
  std::vector<double> max_lr = {};   ///< to be given
  std::int64_t step_size_up = 2000;
  std::int64_t step_size_down = 0;  ///< 0: as step_size_up
  std::string mode = "triangular";
  double gamma = 1.0;
  /// In place of `mode`: scales the height, given the cycle's number (from 1) or the step (from 0), as scale_mode says.
  std::function<double(double)> scale_fn = nullptr;
  std::string scale_mode = "cycle";
  bool cycle_momentum = true;
  std::vector<double> base_momentum = {0.8};
  std::vector<double> max_momentum = {0.9};
};

template <class Fields>
void describe(Fields& fields, CyclicLrOptions& o) {
  fields.add("base_lr", o.base_lr, "lowest rate", at_least(0));
  fields.add("max_lr", o.max_lr, "highest rate of an unscaled cycle", at_least(0));
  fields.add("step_size_up", o.step_size_up, "steps from the lowest rate to the highest", at_least(1));
  fields.add("step_size_down", o.step_size_down, "steps back; 0: as many as up", at_least(0));
  fields.add("mode", o.mode, "same height, half of it each cycle, or gamma^step of it",
             one_of({"triangular", "triangular2", "exp_range"}));
  fields.add("gamma", o.gamma, "factor of the height at each step, for exp_range", positive());
  fields.add("scale_mode", o.scale_mode, "what a scale function is given", one_of({"cycle", "iterations"}));
  fields.add("cycle_momentum", o.cycle_momentum, "lead the momentum (or beta1) against the rate", anything());
  fields.add("base_momentum", o.base_momentum, "momentum at the highest rate", between(0, 1));
  fields.add("max_momentum", o.max_momentum, "momentum at the lowest rate", between(0, 1));
}

/// Leads the rate from base_lr to max_lr and back along straight lines, again and again (Smith 2017, "Cyclical
/// Learning Rates for Training Neural Networks").
class CyclicLR final : public LRScheduler {
 public:
  CyclicLR(std::vector<Rate>& rates, CyclicLrOptions options);

 private:
  /// How far up the cycle is, from 0 to 1, and by what the height of the cycle is multiplied.
  struct Position {
    double scale_factor;
    double scale;
  };

  [[nodiscard]] Position position() const;
  [[nodiscard]] double scale(double cycle) const;
  [[nodiscard]] double next_lr(std::size_t group) const override;
  [[nodiscard]] double next_momentum(std::size_t group) const override;

  CyclicLrOptions options_;
  std::vector<double> max_lrs_;  // one per group, as are the next two
  std::vector<double> base_momenta_;
  std::vector<double> max_momenta_;
  double total_size_ = 0;
  double step_ratio_ = 0;
};

}  // namespace gradwise
