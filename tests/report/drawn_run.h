#pragma once

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gradwise/record/run_reader.h"
#include "gradwise/record/run_store.h"
#include "tests/data/temporary_folder.h"
#include "tests/record/synthetic_run.h"

/// Runs that pictures and reports are made of, and what is read of these.
namespace gradwise {

inline RunReader run_with(const TemporaryFolder& folder, const std::vector<Event>& events) {
  {
    RunStoreSink sink(folder / "run.sqlite");
    sink.write(events);
  }
  return RunReader(folder / ".");
}

/// What `gradwise analyze --hessian` leaves in a run's folder, as far as pictures read it.
inline void store_analysis(const TemporaryFolder& folder) {
  std::ofstream(folder / "gradient_analysis.json") << R"({"norm": 1, "step": 7, "hessian": {
    "eigenvalues": [4, 2], "eigenvalue_errors": [0.1, 0.2], "trace": 20, "trace_error": 1.5,
    "density": [[-1, 0.1], [0, 0.8], [4, 0.1]], "density_errors": [0.01, 0.1, 0.02],
    "layers": [{"name": "layer_0", "largest": 1, "largest_error": 0.01, "trace": 6, "trace_error": 0.5},
               {"name": "layer_1", "largest": 3, "largest_error": 0.01, "trace": 14, "trace_error": null}],
    "edge_of_stability": {"optimizer": "sgd", "value": 0.4, "error": 0.01, "threshold": 2, "preconditioned": true}}})";
}

inline std::vector<Event> run_of(std::int64_t steps, bool with_norms) {
  std::vector<Event> events{event_after(0, 0, synthetic_start())};
  for (std::int64_t step = 1; step <= steps; ++step) {
    StepInfo info = synthetic_step(step);
    info.grad_norm = with_norms ? info.grad_norm : kNotMeasured;
    info.peak_bytes = kNotMeasured;
    events.push_back(event_after(static_cast<double>(step), step, info));
  }
  return events;
}

/// Six layers that were read every ten steps, as a vanishing gradient would look, with everything that can be drawn.
inline std::vector<Event> watched_events(std::int64_t steps) {
  RunFacts facts;
  for (int layer = 0; layer < 6; ++layer) {
    facts.parameters.push_back({"layer_" + std::to_string(layer) + ".weight", {32, 16}});
    facts.parameters.push_back({"layer_" + std::to_string(layer) + ".bias", {32}});
  }
  const auto shared = std::make_shared<const RunFacts>(facts);
  std::vector<Event> events = run_of(steps, true);
  for (Event& event : events) {
    if (auto* info = std::get_if<StepInfo>(&event.payload)) {
      info->peak_bytes = static_cast<double>(info->step) * 1024 * 1024;
    }
  }
  for (std::int64_t step = 10; step <= steps; step += 10) {
    auto reading = std::make_shared<StepReading>();
    reading->step = step;
    for (std::size_t i = 0; i < facts.parameters.size(); ++i) {
      ParameterReading p;
      p.grad_norm = std::pow(10.0, static_cast<double>(i) / 2 - 6);
      p.grad_cosine = 0.9 - 0.1 * static_cast<double>(i);
      p.update_ratio = 1e-3;
      reading->parameters.push_back(p);
      reading->histograms.emplace_back().fill(static_cast<std::int64_t>(i) + 1);
    }
    reading->activations.push_back({.layer = "layer_0", .op = "relu", .elements = 64, .dead = 0.2});
    reading->activations.push_back({.layer = "layer_1", .op = "tanh", .elements = 64, .saturated = 0.7});
    reading->noise_scale = 100 + static_cast<double>(step);
    events.push_back(event_after(static_cast<double>(steps), step, WatchedStep{shared, reading}));
  }
  events.push_back(event_after(static_cast<double>(steps), steps, synthetic_issue(steps / 2)));
  return events;
}

/// Programs are looked for in an empty folder, for the time of a scope.
class NoPrograms {
 public:
  explicit NoPrograms(const std::filesystem::path& empty) {
    if (const char* path = std::getenv("PATH")) {
      before_ = path;
    }
    ::setenv("PATH", empty.c_str(), 1);
  }
  ~NoPrograms() {
    if (before_) {
      ::setenv("PATH", before_->c_str(), 1);
    } else {
      ::unsetenv("PATH");
    }
  }
  NoPrograms(const NoPrograms&) = delete;
  NoPrograms& operator=(const NoPrograms&) = delete;

 private:
  std::optional<std::string> before_;
};

inline std::string content_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace gradwise
