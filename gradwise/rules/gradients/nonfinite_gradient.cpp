#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct NonfiniteGradient {
  std::int64_t scaled_steps = 10;
};

template <class Fields>
void describe(Fields& fields, NonfiniteGradient& o) {
  fields.add("scaled_steps", o.scaled_steps,
             "steps in a row that have to show it where a gradient scaler works: it finds its scale by overflows",
             at_least(1));
}

// Backward goes from the last parameter to the first: the first one that was hit stands last in the list.
std::size_t first_hit(const StepRecord& record, std::size_t known) {
  const bool read = record.reading && record.reading->gradients_read;
  const std::size_t listed = read ? std::min(record.reading->parameters.size(), known) : 0;
  for (std::size_t i = listed; i > 0; --i) {
    if (has_nonfinite_gradient(record.reading->parameters[i - 1])) {
      return i - 1;
    }
  }
  return known;
}

// A norm of NaN alone may mean that nobody took it.
bool overflowed(const StepRecord& record) {
  const double norm = record.info.grad_norm;
  return record.info.skipped && (std::isinf(norm) || (std::isnan(norm) && has_nonfinite_loss(record.info)));
}

void check(const History& history, const NonfiniteGradient& o, Sightings& seen) {
  const std::size_t known = history.facts.parameters.size();
  const auto hit = [known](const StepRecord& r) { return overflowed(r) || first_hit(r, known) < known; };
  if (history.empty() || !hit(history.now())) {
    return;
  }
  if (history.now().info.loss_scale > 1) {
    const auto last = static_cast<std::size_t>(o.scaled_steps);
    const auto begin = history.steps().end() - static_cast<std::ptrdiff_t>(std::min(last, history.steps().size()));
    if (history.steps().size() < last || !std::all_of(begin, history.steps().end(), hit)) {
      return;
    }
  }
  const std::size_t at = first_hit(history.now(), known);
  if (at == known) {
    seen.push_back({"", kNotMeasured, kNotMeasured, "the gradient of this step is not finite"});
    return;
  }
  const ParameterReading& reading = history.now().reading->parameters[at];
  const auto count = static_cast<double>(reading.grad_nans + reading.grad_infs);
  const std::string& name = history.facts.parameters[at].name;
  seen.push_back({name, count, 0,
                  figure(count) + (count == 1 ? " element" : " elements") + " of the gradient of " + name +
                      (count == 1 ? " is" : " are") + " NaN or infinite"});
}

}  // namespace

Rule nonfinite_gradient() {
  return make_rule<NonfiniteGradient>(
      {.name = "nonfinite_gradient",
       .about = "NaN or infinity in a gradient; names the parameter that backward came to first",
       .severity = Severity::error,
       .advice = "look for log(0), sqrt(0), a division by 0 or an overflow: between this layer and the loss where the "
                 "loss is a number, before the loss where it is none"},
      check);
}

}  // namespace gradwise
