#include <algorithm>
#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct SagemakerPoorWeightInitialization {
  double threshold = 10;
  double distribution_range = 0.001;
  std::int64_t patience = 5;
  std::int64_t steps = 10;
};

template <class Fields>
void describe(Fields& fields, SagemakerPoorWeightInitialization& o) {
  fields.add("threshold", o.threshold, "ratio of the variances of weights from layer to layer", positive());
  fields.add("distribution_range", o.distribution_range,
             "least width of a gradient, from its 5th to its 95th percentile", positive());
  fields.add("patience", o.patience, "readings in a row", at_least(1));
  fields.add("steps", o.steps, "first steps that count", at_least(1));
}

void check(const History& history, const SagemakerPoorWeightInitialization& o, Sightings& seen) {
  if (history.step() > o.steps) {
    return;
  }
  const auto readings = history.readings(static_cast<std::size_t>(o.patience));
  const std::vector<std::size_t> weights = weights_by_depth(history.facts);
  if (std::ssize(readings) < o.patience || weights.size() < 2) {
    return;
  }
  double least_ratio = 1e300;
  double widest = 0;
  for (const StepReading* reading : readings) {
    double smallest = 1e300;
    double largest = 0;
    for (const std::size_t weight : weights) {
      if (weight >= reading->parameters.size()) {
        return;
      }
      const ParameterReading& p = reading->parameters[weight];
      smallest = std::min(smallest, p.weight_variance);
      largest = std::max(largest, p.weight_variance);
      // The percentiles of a normal distribution of this mean and variance.
      widest = std::max(widest, 2 * 1.645 * std::sqrt(p.grad_variance));
    }
    least_ratio = std::min(least_ratio, largest / smallest);
  }
  if (least_ratio > o.threshold) {
    seen.push_back(
        {"", least_ratio, o.threshold, "the variances of the weights differ by " + figure(least_ratio) + " times"});
  } else if (widest < o.distribution_range) {
    seen.push_back({"", widest, o.distribution_range, "the widest gradient spans " + figure(widest)});
  }
}

}  // namespace

Rule sagemaker_poor_weight_initialization() {
  return make_rule<SagemakerPoorWeightInitialization>(
      {
          .name = "sagemaker_poor_weight_initialization",
          .about = "weights that begin too uneven, gradients too narrow, in the first steps",
          .set = RuleSet::sagemaker,
          .advice = "initialise by He or Xavier",
          .source = "SageMaker Debugger, PoorWeightInitialization",
      },
      check);
}

}  // namespace gradwise
