// Runs training programs with a known fault, one JSON object a line on standard input, and answers each with one:
//
//   echo '{"architecture": "mlp", "data": "blobs", "fault": "rate_too_high", "seed": 3}' | bench_diagnosis
// "remedies" in the object is a list of [cause, which of its remedies], applied first.
//
//   bench_diagnosis --faults      what faults there are, and what they may be called
#include <ATen/Parallel.h>
#include <malloc.h>

#include <cstdio>
#include <exception>
#include <iostream>
#include <string>

#include "benchmarks/diagnosis/remedy.h"
#include "benchmarks/diagnosis/run_scenario.h"
#include "gradwise/core/random_state.h"

namespace gradwise::bench {
namespace {

using nlohmann::json;

class FromJson {
 public:
  explicit FromJson(const json& values) : values_(&values) {}
  template <class T>
  void add(std::string_view key, T& value, std::string_view /*meaning*/, const Allowed& /*allowed*/) {
    value = values_->value(std::string(key), value);
  }

 private:
  const json* values_;
};

json answer(const json& words) {
  Scenario scenario;
  FromJson fields(words);
  describe(fields, scenario);
  check_fields("scenario", scenario);
  seed_everything(static_cast<std::uint64_t>(scenario.seed));
  Program program = healthy_program(scenario);
  if (scenario.fault != "none") {
    fault_named(scenario.fault).inject(program, scenario.severity);
  }
  for (const json& remedy : words.value("remedies", json::array())) {
    remedies().at(remedy.at(0)).at(remedy.at(1))(program);
  }
  json result = run_scenario(std::move(program));
  result["scenario"] = words;
  return result;
}

json fault_list() {
  json list = json::array();
  for (const Fault& fault : faults()) {
    list.push_back({{"name", fault.name},
                    {"causes", fault.causes},
                    {"architectures", fault.architectures},
                    {"for_classes_only", fault.for_classes_only},
                    {"layer", fault.layer}});
  }
  json choices;
  for (const auto& [cause, ways] : remedies()) {
    choices[cause] = ways.size();
  }
  return {{"faults", list}, {"remedies", choices}};
}

}  // namespace
}  // namespace gradwise::bench

int main(int count, char** words) {
  using namespace gradwise::bench;
  ::mallopt(M_MMAP_THRESHOLD, 1 << 30);
  ::mallopt(M_TRIM_THRESHOLD, 1'000'000'000);
  at::set_num_threads(1);
  try {
    if (count > 1 && std::string(words[1]) == "--faults") {
      std::puts(fault_list().dump().c_str());
      return 0;
    }
    for (std::string line; std::getline(std::cin, line);) {
      std::puts(answer(nlohmann::json::parse(line)).dump().c_str());
      std::fflush(stdout);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_diagnosis: %s\n", error.what());
    return 1;
  }
  return 0;
}
