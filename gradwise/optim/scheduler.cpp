#include "gradwise/optim/scheduler.h"

#include <nlohmann/json.hpp>

#include "gradwise/core/error.h"
#include "gradwise/optim/schedule_state.h"

namespace gradwise {

nlohmann::json Scheduler::state() const {
  std::vector<double> lrs;
  std::vector<double> momenta;
  for (const Rate& rate : rates_) {
    lrs.push_back(rate.lr);
    momenta.push_back(rate.momentum);
  }
  nlohmann::json state = nlohmann::json::object();
  state["_last_lr"] = detail::write_numbers(lrs);
  state["_last_momentum"] = detail::write_numbers(momenta);
  return state;
}

void Scheduler::load_state(const nlohmann::json& state) {
  const std::vector<double> lrs = detail::read_numbers(state, "_last_lr", rates_.size());
  const std::vector<double> momenta = detail::read_numbers(state, "_last_momentum", rates_.size());
  for (std::size_t i = 0; i < rates_.size(); ++i) {
    rates_[i].lr = lrs[i];
    rates_[i].momentum = momenta[i];
  }
}

std::vector<double> per_group(const char* place, const std::string& option, const std::vector<double>& values,
                              std::size_t groups) {
  if (values.size() == 1) {
    return std::vector<double>(groups, values.front());
  }
  GRADWISE_CHECK(values.size() == groups, place, option, " has ", values.size(),
                 " values, allowed: one, or one for each of the ", groups, " parameter groups");
  return values;
}

}  // namespace gradwise
