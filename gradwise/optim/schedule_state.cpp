#include "gradwise/optim/schedule_state.h"

#include <nlohmann/json.hpp>

#include "gradwise/core/error.h"
#include "gradwise/core/state.h"

namespace gradwise::detail {

nlohmann::json write_number(double value) { return to_json_number(value); }

nlohmann::json write_numbers(const std::vector<double>& values) {
  nlohmann::json list = nlohmann::json::array();
  for (const double value : values) {
    list.push_back(to_json_number(value));
  }
  return list;
}

const nlohmann::json& read_entry(const nlohmann::json& state, const char* key) {
  if (!state.is_object()) {
    fail("scheduler", "the saved state is not a table but ", state.type_name());
  }
  const auto found = state.find(key);
  if (found == state.end()) {
    fail("scheduler", "the saved state has no entry \"", key, "\": it is of another kind of scheduler");
  }
  return *found;
}

std::vector<double> read_numbers(const nlohmann::json& state, const char* key, std::size_t count) {
  const nlohmann::json& list = read_entry(state, key);
  if (!list.is_array() || list.size() != count) {
    fail("scheduler", "the saved state's \"", key, "\" is ", list.dump(), ", expected ", count,
         " numbers, one for each parameter group");
  }
  std::vector<double> values;
  for (const nlohmann::json& value : list) {
    values.push_back(from_json_number(value));
  }
  return values;
}

double read_number(const nlohmann::json& state, const char* key) { return from_json_number(read_entry(state, key)); }

std::int64_t read_integer(const nlohmann::json& state, const char* key) {
  const nlohmann::json& value = read_entry(state, key);
  if (!value.is_number_integer()) {
    fail("scheduler", "the saved state's \"", key, "\" is ", value.dump(), ", expected a whole number");
  }
  return value.get<std::int64_t>();
}

}  // namespace gradwise::detail
