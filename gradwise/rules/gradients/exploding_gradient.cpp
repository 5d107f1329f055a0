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

std::vector<double> norms_of_updates(const History& history) {
  std::vector<double> norms;
  for (const StepRecord& record : history.steps) {
    if (!record.info.skipped && std::isfinite(record.info.grad_norm)) {
      norms.push_back(record.info.grad_norm);
    }
  }
  return norms;
}

void check(const History& history, const ExplodingGradient& o, Sightings& seen) {
  const std::vector<double> norms = norms_of_updates(history);
  const auto steps = static_cast<std::ptrdiff_t>(o.steps);
  const auto window = static_cast<std::ptrdiff_t>(o.window);
  if (std::ssize(norms) < 2 * steps) {
    return;
  }
  const double now = median_of({norms.end() - steps, norms.end()});
  const double first = median_of({norms.begin(), norms.begin() + steps});
  if (now > o.absolute && now > o.growth * first) {
    seen.push_back({"", now, o.absolute, "the gradient's norm has grown from " + figure(first) + " to " + figure(now)});
    return;
  }
  if (std::ssize(norms) < steps + window) {
    return;
  }
  const double usual = median_of({norms.end() - steps - window, norms.end() - steps});
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
