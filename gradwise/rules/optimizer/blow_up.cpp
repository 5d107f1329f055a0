#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct BlowUp {
  double loss_growth = 10;
  double update_ratio = 0.3;
  std::int64_t window = 20;
};

template <class Fields>
void describe(Fields& fields, BlowUp& o) {
  fields.add("loss_growth", o.loss_growth, "how many times its least value the last finite loss has to be",
             at_least(1));
  fields.add("update_ratio", o.update_ratio, "or the median over weights of the last finite update over the weight",
             positive());
  fields.add("window", o.window, "steps before the overflow that are looked at", at_least(2));
}

double largest_update_ratio(const History& history, std::size_t readings) {
  double largest = kNotMeasured;
  for (const StepReading* reading : history.readings_of_updates(readings)) {
    std::vector<double> ratios;
    for (const std::size_t i : weights_by_depth(history.facts)) {
      const double ratio = i < reading->parameters.size() ? reading->parameters[i].update_ratio : kNotMeasured;
      ratios.push_back(std::isfinite(ratio) ? ratio : kNotMeasured);
    }
    largest = std::fmax(largest, median_of(ratios));
  }
  return largest;
}

void check(const History& history, const BlowUp& o, Sightings& seen) {
  if (history.empty() || (!has_nonfinite_loss(history.now().info) && !history.now().info.skipped)) {
    return;
  }
  std::vector<double> losses = history.recent_losses(static_cast<std::size_t>(o.window));
  std::erase_if(losses, [](double loss) { return !std::isfinite(loss); });
  if (!losses.empty()) {
    const double least = *std::min_element(losses.begin(), losses.end());
    const double bound = o.loss_growth * std::max(std::abs(least), 1e-3);
    if (losses.back() > bound) {
      seen.push_back({"", losses.back(), bound,
                      "the loss had grown to " + figure(losses.back()) + " from " + figure(least) +
                          " when it stopped being a number"});
      return;
    }
  }
  const double ratio = largest_update_ratio(history, static_cast<std::size_t>(o.window));
  if (ratio > o.update_ratio) {
    seen.push_back({"", ratio, o.update_ratio,
                    "steps changed weights by up to " + figure(100 * ratio) +
                        " % of their size before the loss stopped being a number"});
  }
}

}  // namespace

Rule blow_up() {
  return make_rule<BlowUp>({.name = "blow_up",
                            .about = "a loss that grew, or weights that were thrown about, until numbers overflowed",
                            .severity = Severity::error,
                            .advice = "divide the learning rate by 10, or clip gradients by norm"},
                           check);
}

}  // namespace gradwise
