// Runs one scheduler as a JSON case on standard input says, for test_schedulers.py:
//   {"scheduler": {"type": "StepLR", "options": {"step_size": 30}, "schedulers": [parts of a composed one]},
//    "groups": [{"lr": 0.1, "momentum": 0.9}], "steps": 10000,
//    "metrics": [one per step, for ReduceLROnPlateau], "save_at": 5000}
// Prints a line for the first rates and one after each step: lr and momentum of each group. With "save_at" the
// scheduler goes through JSON text into one that was made anew after that step.
#include <cmath>
#include <cstdio>
#include <exception>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <numbers>
#include <set>
#include <string>
#include <utility>

#include "gradwise/optim/composed_schedules.h"
#include "gradwise/optim/cosine_schedules.h"
#include "gradwise/optim/cycle_schedules.h"
#include "gradwise/optim/decay_schedules.h"
#include "gradwise/optim/plateau_schedule.h"
#include "gradwise/optim/step_schedules.h"
#include "tests/optim/json_fields.h"

namespace gradwise {
namespace {

using nlohmann::json;

template <class S, class Options>
std::unique_ptr<ChainableScheduler> make(std::vector<Rate>& rates, const json& options) {
  return std::make_unique<S>(rates, read_options<Options>(options));
}

LrLambda named_lambda(const std::string& name) {
  if (name == "inverse") {
    return [](std::int64_t step) { return 1.0 / (1.0 + 0.01 * static_cast<double>(step)); };
  }
  if (name == "power") {
    return [](std::int64_t step) { return std::pow(0.999, static_cast<double>(step)); };
  }
  if (name == "often") {
    return [](std::int64_t step) { return step % 7 == 0 ? 0.99 : 1.001; };
  }
  fail_usage("probe", "unknown lambda ", name);
}

template <class S>
std::unique_ptr<ChainableScheduler> make_with_lambdas(std::vector<Rate>& rates, const json& options) {
  LambdaLrOptions lambdas;
  for (const json& name : options.at("lr_lambda")) {
    lambdas.lr_lambda.push_back(named_lambda(name.get<std::string>()));
  }
  return std::make_unique<S>(rates, std::move(lambdas));
}

std::unique_ptr<ChainableScheduler> make_cyclic(std::vector<Rate>& rates, const json& values) {
  auto options = read_options<CyclicLrOptions>(values, {"scale_fn"});
  if (values.contains("scale_fn")) {
    options.scale_fn = [](double x) { return 0.5 * (1.0 + std::sin(x * std::numbers::pi / 2.0)); };
  }
  return std::make_unique<CyclicLR>(rates, std::move(options));
}

std::unique_ptr<ChainableScheduler> make_part(const json& description, std::vector<Rate>& rates);

std::unique_ptr<ChainableScheduler> make_composed(const json& description, std::vector<Rate>& rates) {
  SchedulerList parts;
  for (const json& part : description.at("schedulers")) {
    parts.push_back(make_part(part, rates));
  }
  if (description.at("type").get<std::string>() == "ChainedScheduler") {
    return std::make_unique<ChainedScheduler>(rates, std::move(parts));
  }
  const json& milestones = description.at("options").at("milestones");
  return std::make_unique<SequentialLR>(rates, std::move(parts), milestones.get<std::vector<std::int64_t>>());
}

std::unique_ptr<ChainableScheduler> make_part(const json& description, std::vector<Rate>& rates) {
  const auto type = description.at("type").get<std::string>();
  if (type == "ChainedScheduler" || type == "SequentialLR") {
    return make_composed(description, rates);
  }
  using Maker = std::unique_ptr<ChainableScheduler> (*)(std::vector<Rate>&, const json&);
  const std::map<std::string, Maker> makers = {
      {"StepLR", make<StepLR, StepLrOptions>},
      {"MultiStepLR", make<MultiStepLR, MultiStepLrOptions>},
      {"ExponentialLR", make<ExponentialLR, ExponentialLrOptions>},
      {"ConstantLR", make<ConstantLR, ConstantLrOptions>},
      {"LinearLR", make<LinearLR, LinearLrOptions>},
      {"PolynomialLR", make<PolynomialLR, PolynomialLrOptions>},
      {"CosineAnnealingLR", make<CosineAnnealingLR, CosineAnnealingLrOptions>},
      {"CosineAnnealingWarmRestarts", make<CosineAnnealingWarmRestarts, CosineAnnealingWarmRestartsOptions>},
      {"OneCycleLR", make<OneCycleLR, OneCycleLrOptions>},
      {"CyclicLR", make_cyclic},
      {"LambdaLR", make_with_lambdas<LambdaLR>},
      {"MultiplicativeLR", make_with_lambdas<MultiplicativeLR>}};
  return makers.at(type)(rates, description.at("options"));
}

std::unique_ptr<Scheduler> make_scheduler(const json& description, std::vector<Rate>& rates) {
  if (description.at("type").get<std::string>() == "ReduceLROnPlateau") {
    return std::make_unique<ReduceLROnPlateau>(rates,
                                               read_options<ReduceLrOnPlateauOptions>(description.at("options")));
  }
  return make_part(description, rates);
}

std::vector<Rate> read_rates(const json& groups) {
  std::vector<Rate> rates;
  for (const json& group : groups) {
    Rate rate;
    rate.lr = group.at("lr").get<double>();
    rate.momentum = group.at("momentum").get<double>();
    rates.push_back(rate);
  }
  return rates;
}

void print(const std::vector<Rate>& rates) {
  for (const Rate& rate : rates) {
    std::printf("%.17g %.17g ", rate.lr, rate.momentum);
  }
  std::printf("\n");
}

void run(const json& test) {
  const json& description = test.at("scheduler");
  std::vector<Rate> rates = read_rates(test.at("groups"));
  auto scheduler = make_scheduler(description, rates);
  print(rates);
  const auto steps = test.at("steps").get<std::int64_t>();
  const auto save_at = test.value("save_at", std::int64_t{-1});
  const auto metrics = test.value("metrics", std::vector<double>());
  for (std::int64_t step = 0; step < steps; ++step) {
    if (metrics.empty()) {
      scheduler->step();
    } else {
      scheduler->step(metrics.at(static_cast<std::size_t>(step)));
    }
    print(rates);
    if (step == save_at) {
      const std::string saved = scheduler->state().dump();
      rates = read_rates(test.at("groups"));
      scheduler = make_scheduler(description, rates);
      scheduler->load_state(json::parse(saved));
    }
  }
}

}  // namespace
}  // namespace gradwise

int main() {
  try {
    for (std::string line; std::getline(std::cin, line);) {
      gradwise::run(nlohmann::json::parse(line));
      std::printf("end\n");
    }
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}
