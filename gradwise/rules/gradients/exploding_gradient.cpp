#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct ExplodingGradient {
  double ratio = 100;
  double absolute = 1e4;
  double growth = 10;
  double least = 1e-2;
  std::int64_t steps = 5;
  std::int64_t window = 50;
};

template <class Fields>
void describe(Fields& fields, ExplodingGradient& o) {
  fields.add("ratio", o.ratio, "how many times its median of the window before the norm has to be", at_least(1));
  fields.add("absolute", o.absolute, "norm that is an explosion by itself", positive());
  fields.add("growth", o.growth, "if it has grown so many times since the first steps that are kept", at_least(1));
  fields.add("least", o.least, "norm below which nothing explodes: a converged model's gradient may jump about",
             at_least(0));
  fields.add("steps", o.steps, "newest steps whose median counts", at_least(1));
  fields.add("window", o.window, "steps before them that say what is usual", at_least(5));
}

// Of the first `count` updates from an end of the history on.
template <class Iterator>
std::vector<double> norms_from(Iterator begin, Iterator end, std::ptrdiff_t count) {
  std::vector<double> norms;
  for (; begin != end && std::ssize(norms) < count; ++begin) {
    if (!begin->info.skipped && std::isfinite(begin->info.grad_norm)) {
      norms.push_back(begin->info.grad_norm);
    }
  }
  return norms;
}

void check(const History& history, const ExplodingGradient& o, Sightings& seen) {
  const auto steps = static_cast<std::ptrdiff_t>(o.steps);
  const auto window = static_cast<std::ptrdiff_t>(o.window);
  const std::vector<double> newest =
      norms_from(history.steps().rbegin(), history.steps().rend(), steps + std::max(steps, window));
  if (std::ssize(newest) < 2 * steps) {
    return;
  }
  const double now = median_of({newest.begin(), newest.begin() + steps});
  const double first = median_of(norms_from(history.steps().begin(), history.steps().end(), steps));
  if (now > o.absolute && now > o.growth * first) {
    seen.push_back({"", now, o.absolute, "the gradient's norm has grown from " + figure(first) + " to " + figure(now)});
    return;
  }
  if (std::ssize(newest) < steps + window) {
    return;
  }
  const double usual = median_of({newest.begin() + steps, newest.begin() + steps + window});
  if (now > o.ratio * usual && now > o.least && now > first) {
    seen.push_back({"", now, o.ratio * usual,
                    "the gradient's norm is " + figure(now) + ", its median of the steps before " + figure(usual)});
  }
}

}  // namespace

Rule exploding_gradient() {
  return make_rule<ExplodingGradient>(
      {.name = "exploding_gradient",
       .about = "the norm of the gradient, before clipping, leaves all it has been",
       .severity = Severity::error,
       .advice = "clip gradients by norm, lower the learning rate, or use gated or normalised layers"},
      check);
}

}  // namespace gradwise
