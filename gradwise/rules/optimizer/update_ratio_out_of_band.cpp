#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct UpdateRatioOutOfBand {
  double lowest = 1e-6;
  double highest = 1e-1;
  double apart = 10;
  std::int64_t readings = 20;
};

template <class Fields>
void describe(Fields& fields, UpdateRatioOutOfBand& o) {
  fields.add("lowest", o.lowest, "update over weight below which a layer hardly learns", positive());
  fields.add("highest", o.highest, "update over weight above which it is thrown about", positive());
  fields.add("apart", o.apart, "how many times below the median layer a slow layer is", at_least(1));
  fields.add("readings", o.readings, "readings whose median counts", at_least(1));
}

void check(const History& history, const UpdateRatioOutOfBand& o, Sightings& seen) {
  const auto readings = history.readings_of_updates(static_cast<std::size_t>(o.readings));
  if (std::ssize(readings) < o.readings) {
    return;
  }
  const std::vector<std::size_t> weights = layer_weights(history);
  std::vector<double> ratios;
  for (const std::size_t weight : weights) {
    ratios.push_back(median_of(figures_of(readings, weight, &ParameterReading::update_ratio)));
  }
  // Where all layers are slow, the schedule or a converged model is the reason, and no layer's matter; one of them is
  // the first to fall out of the band.
  const double usual = median_of(ratios);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const bool low = ratios[i] > 0 && ratios[i] < o.lowest && usual >= o.lowest && ratios[i] * o.apart < usual;
    if (low || ratios[i] > o.highest) {
      const std::string& name = history.facts.parameters[weights[i]].name;
      seen.push_back({name, ratios[i], low ? o.lowest : o.highest,
                      "a step changes " + name + " by " + figure(ratios[i]) + " of its size, usual is 1e-3"});
    }
  }
}

}  // namespace

Rule update_ratio_out_of_band() {
  return make_rule<UpdateRatioOutOfBand>(
      {.name = "update_ratio_out_of_band",
       .about = "a layer whose updates are tiny or huge beside its weights",
       .severity = Severity::info,
       .advice = "give this layer a learning rate of its own, or an optimizer that normalises (AdamW)"},
      check);
}

}  // namespace gradwise
