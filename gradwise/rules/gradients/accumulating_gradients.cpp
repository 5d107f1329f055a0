#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct AccumulatingGradients {
  double cosine = 0.97;
  double early_cosine = 0.9;
  double growth = 3;
  double middle = 0.4;
  std::int64_t readings = 30;
  std::int64_t steps = 60;
};

template <class Fields>
void describe(Fields& fields, AccumulatingGradients& o) {
  fields.add("cosine", o.cosine, "median cosine of a gradient with the one before that is too alike", between(0, 1));
  fields.add("early_cosine", o.early_cosine,
             "the same in the first ten steps, where norms grow in a line from the first", between(0, 1));
  fields.add("growth", o.growth, "and how many times the norm has to grow within the window", at_least(1));
  fields.add("middle", o.middle,
             "share of the newest norm that the window's middle has to reach: sums grow in a line, explosions do not",
             between(0, 1));
  fields.add("readings", o.readings, "readings whose median cosine counts", at_least(5));
  fields.add("steps", o.steps, "steps over which the norm grows", at_least(10));
}

// Norms at the beginning, in the middle and at the end of the window: medians of a sixth of it.
struct NormGrowth {
  double first = kNotMeasured;
  double middle = kNotMeasured;
  double last = kNotMeasured;
};

NormGrowth norm_growth(const History& history, std::size_t steps) {
  std::vector<double> norms;
  for (auto record = history.steps().rbegin(); record != history.steps().rend() && norms.size() < steps; ++record) {
    if (!record->info.skipped) {
      norms.push_back(record->info.grad_norm);
    }
  }
  if (norms.size() < steps) {
    return {};
  }
  const auto sixth = static_cast<std::ptrdiff_t>(steps / 6);
  const auto middle = norms.begin() + static_cast<std::ptrdiff_t>(steps / 2) - sixth / 2;
  return {median_of({norms.end() - sixth, norms.end()}), median_of({middle, middle + sixth}),
          median_of({norms.begin(), norms.begin() + sixth})};
}

// The median over weights of the median cosine: the majority has to be alike.
double usual_cosine(const History& history, const std::vector<const StepReading*>& readings) {
  std::vector<double> cosines;
  for (const std::size_t i : weights_by_depth(history.facts)) {
    cosines.push_back(median_of(figures_of(readings, i, &ParameterReading::grad_cosine)));
  }
  return median_of(cosines);
}

// From the first step on, the norm of step t is near t times that of the first, and gradients hardly turn.
bool sums_from_the_start(const History& history, const AccumulatingGradients& o) {
  constexpr std::size_t kFirst = 10;
  if (history.steps().size() < kFirst || history.steps().front().info.step != 1) {
    return false;
  }
  const double unit = history.steps().front().info.grad_norm;
  for (std::size_t i = 1; i < kFirst; ++i) {
    const StepInfo& info = history.steps()[i].info;
    const double times = info.grad_norm / (unit * static_cast<double>(i + 1));
    if (info.skipped || !(times > 0.5 && times < 1.2)) {
      return false;
    }
  }
  return usual_cosine(history, history.readings_of_updates(kFirst / 2)) > o.early_cosine;
}

// Gradients that began tensors of their own hold none of an earlier step: those of most weights that have any.
bool are_fresh(const History& history) {
  const auto readings = history.readings_of_updates(1);
  std::ptrdiff_t fresh = 0;
  std::ptrdiff_t added = 0;
  for (const std::size_t i : readings.empty() ? std::vector<std::size_t>() : weights_by_depth(history.facts)) {
    if (i < readings[0]->parameters.size() && !readings[0]->parameters[i].missing) {
      ++(readings[0]->parameters[i].grad_fresh ? fresh : added);
    }
  }
  return fresh > added;
}

void check(const History& history, const AccumulatingGradients& o, Sightings& seen) {
  if (history.steps().size() < 20 && history.facts.steps_per_epoch != 1 && sums_from_the_start(history, o) &&
      !are_fresh(history)) {
    const double norm = history.now().info.grad_norm;
    seen.push_back({"", norm, history.steps().front().info.grad_norm,
                    "from the first step on, each gradient is the one before and more: their norm has grown from " +
                        figure(history.steps().front().info.grad_norm) + " to " + figure(norm) + " in " +
                        figure(static_cast<double>(history.steps().size())) + " steps"});
    return;
  }
  const auto readings = history.readings_of_updates(static_cast<std::size_t>(o.readings));
  // Where a step sees all the data, gradients are alike from step to step by themselves.
  if (readings.size() < static_cast<std::size_t>(o.readings) || history.facts.steps_per_epoch == 1) {
    return;
  }
  const NormGrowth norms = norm_growth(history, static_cast<std::size_t>(o.steps));
  const bool grows = norms.last >= o.growth * norms.first && norms.middle >= o.middle * norms.last;
  const double cosine = grows ? usual_cosine(history, readings) : kNotMeasured;
  if (cosine > o.cosine && !are_fresh(history)) {
    seen.push_back({"", cosine, o.cosine,
                    "each gradient is nearly the one before (cosine " + figure(cosine) +
                        ") and their norm has grown from " + figure(norms.first) + " to " + figure(norms.last)});
  }
}

}  // namespace

Rule accumulating_gradients() {
  return make_rule<AccumulatingGradients>({.name = "accumulating_gradients",
                                           .about = "gradients add up from step to step: they are never cleared",
                                           .severity = Severity::error,
                                           .advice = "call zero_grad() before each backward pass"},
                                          check);
}

}  // namespace gradwise
