#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct LossNotLearning {
  std::int64_t after = 150;
  double epochs = 1.5;
  double low = 0.96;
  double high = 1.15;
};

template <class Fields>
void describe(Fields& fields, LossNotLearning& o) {
  fields.add("after", o.after, "steps before which nothing is said", at_least(50));
  fields.add("epochs", o.epochs, "passes over the data before which nothing is said, where their length is known",
             at_least(0));
  fields.add("low", o.low, "share of ln(classes) that the loss stays above", positive());
  fields.add("high", o.high, "and below", positive());
}

// What guessing by the shares of the classes costs: ln C where they are even.
double entropy_of_labels(const History& history) {
  std::vector<double> counts(static_cast<std::size_t>(history.facts.classes), 0);
  double all = 0;
  for (const BatchReading* batch : history.batches(History::kKeptSteps)) {
    for (std::size_t c = 0; c < batch->labels.size() && c < counts.size(); ++c) {
      counts[c] += static_cast<double>(batch->labels[c]);
      all += static_cast<double>(batch->labels[c]);
    }
  }
  double entropy = all > 0 ? 0 : std::log(static_cast<double>(history.facts.classes));
  for (const double count : counts) {
    entropy -= count > 0 ? count / all * std::log(count / all) : 0;
  }
  return entropy;
}

double usual_update_ratio(const History& history) {
  const auto readings = history.readings_of_updates(20);
  std::vector<double> ratios;
  for (const std::size_t weight : weights_by_depth(history.facts)) {
    ratios.push_back(median_of(figures_of(readings, weight, &ParameterReading::update_ratio)));
  }
  return median_of(ratios);
}

void check(const History& history, const LossNotLearning& o, Sightings& seen) {
  if (history.facts.loss != "cross_entropy" || history.facts.classes < 2) {
    return;
  }
  const std::vector<double> losses = history.recent_losses(history.losses.size());
  if (std::ssize(losses) < o.after) {
    return;
  }
  if (static_cast<double>(history.step()) < o.epochs * static_cast<double>(history.facts.steps_per_epoch)) {
    return;
  }
  const double chance = entropy_of_labels(history);
  const double now = median_of({losses.end() - 50, losses.end()});
  const double ratio = usual_update_ratio(history);
  const bool moves = ratio > 1e-5 && ratio < 0.1;
  if (now > o.low * chance && now < o.high * chance && (moves || std::isnan(ratio))) {
    seen.push_back({"", now, o.low * chance,
                    "after " + figure(static_cast<double>(losses.size())) + " steps the loss is " + figure(now) +
                        ", no better than guessing by the classes' shares (" + figure(chance) +
                        "), though the weights move"});
  }
}

}  // namespace

Rule loss_not_learning() {
  return make_rule<LossNotLearning>(
      {.name = "loss_not_learning",
       .about = "the weights move and the loss stays at that of guessing",
       .severity = Severity::error,
       .advice = "check that inputs and labels stay paired when the data are read and shuffled"},
      check);
}

}  // namespace gradwise
