#include "gradwise/optim/unused_options.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

namespace gradwise {
namespace {

// Which optimizers have a field; those that are not here belong to all.
const std::map<std::string, std::vector<std::string>>& owners() {
  static const std::vector<std::string> kAllButLbfgs = {"adamw", "adam", "sgd", "rmsprop", "adagrad", "lion"};
  static const std::map<std::string, std::vector<std::string>> kOwners = {
      {"weight_decay", kAllButLbfgs},
      {"decay_vectors", kAllButLbfgs},
      {"maximize", kAllButLbfgs},
      {"beta1", {"adamw", "adam", "lion"}},
      {"beta2", {"adamw", "adam", "lion"}},
      {"eps", {"adamw", "adam", "rmsprop", "adagrad"}},
      {"amsgrad", {"adamw", "adam"}},
      {"momentum", {"sgd", "rmsprop"}},
      {"dampening", {"sgd"}},
      {"nesterov", {"sgd"}},
      {"alpha", {"rmsprop"}},
      {"centered", {"rmsprop"}},
      {"lr_decay", {"adagrad"}},
      {"initial_accumulator", {"adagrad"}},
      {"max_iter", {"lbfgs"}},
      {"history_size", {"lbfgs"}},
      {"line_search", {"lbfgs"}},
      {"state_dtype", kAllButLbfgs},
      {"stochastic_rounding", kAllButLbfgs},
      {"rounding_seed", kAllButLbfgs},
      {"parity", kAllButLbfgs},
  };
  return kOwners;
}

// Visitor (see core/fields.h) that takes down each field's value.
class Values {
 public:
  template <FieldType T>
  void add(std::string_view key, const T& value, std::string_view /*meaning*/, const Allowed& /*allowed*/) {
    all.emplace_back(key, value);
  }

  std::vector<std::pair<std::string, nlohmann::json>> all;
};

Values values_of(OptimizerOptions options) {
  Values values;
  describe(values, options);
  return values;
}

}  // namespace

std::vector<std::string> unused_options(const OptimizerOptions& options) {
  const Values given = values_of(options);
  const Values defaults = values_of({});
  std::vector<std::string> unused;
  for (std::size_t i = 0; i < given.all.size(); ++i) {
    const auto& [key, value] = given.all[i];
    const auto known = owners().find(key);
    if (value != defaults.all[i].second && known != owners().end() &&
        std::ranges::find(known->second, options.name) == known->second.end()) {
      unused.push_back(key);
    }
  }
  return unused;
}

}  // namespace gradwise
