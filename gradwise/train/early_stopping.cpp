#include "gradwise/train/early_stopping.h"

#include <cmath>

namespace gradwise {

EarlyStopping::EarlyStopping(EarlyStoppingOptions options, bool larger_is_better)
    : options_(options), larger_is_better_(larger_is_better) {
  check_fields("early stopping", options_);
}

bool EarlyStopping::update(double value, std::int64_t step) {
  const double gain = larger_is_better_ ? value - best_ : best_ - value;
  const bool better = !std::isnan(value) && (std::isnan(best_) || gain > options_.min_delta);
  if (better) {
    best_ = value;
    best_step_ = step;
    waited_ = 0;
  } else {
    ++waited_;
  }
  return better;
}

State EarlyStopping::state() const {
  State saved;
  saved.values = {{"best", to_json_number(best_)}, {"best_step", best_step_}, {"waited", waited_}};
  return saved;
}

void EarlyStopping::load_state(const State& state) {
  best_ = from_json_number(state.values.at("best"));
  best_step_ = state.values.at("best_step").get<std::int64_t>();
  waited_ = state.values.at("waited").get<std::int64_t>();
}

}  // namespace gradwise
