// Optimizer steps beside one another in one process, in turn; prints one JSON object.
//   bench_optimizer --shapes gpt2 --repeats 15 --kinds ours,aten_fused
#include <ATen/Parallel.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <exception>
#include <nlohmann/json.hpp>

#include "benchmarks/optimizer/backward.h"
#include "benchmarks/optimizer/steps.h"

namespace {

using gradwise::bench::StepKind;

double seconds_of(const std::function<void()>& step, int calls) {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < calls; ++i) {
    step();
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / calls;
}

int run(int argc, char** argv) {
  std::string shapes_name = "gpt2";
  std::vector<std::string> kinds = gradwise::bench::step_kinds();
  int repeats = 15;
  int threads = 2;
  bool steps_only = false;
  CLI::App app("Optimizer steps, side by side");
  app.add_option("--shapes", shapes_name,
                 "gpt2, cnn, small, a number of elements, or of tensors x elements: 20000x1000");
  app.add_option("--kinds", kinds, "which steps")->delimiter(',');
  app.add_option("--repeats", repeats, "rounds; each takes every step once")->check(CLI::PositiveNumber);
  app.add_option("--threads", threads)->check(CLI::PositiveNumber);
  app.add_flag("--steps-only", steps_only, "no whole steps with backward, which take more memory");
  CLI11_PARSE(app, argc, argv);
  at::set_num_threads(threads);
  if (shapes_name == "small" && app.count("--kinds") == 0) {
    kinds.emplace_back("ours_one_tensor");  // of larger shapes it would not fit into memory beside the others
  }

  const gradwise::bench::Shapes shapes = gradwise::bench::shapes_of(shapes_name);
  double elements = 0;
  for (const std::vector<std::int64_t>& shape : shapes) {
    double product = 1;
    for (const std::int64_t length : shape) {
      product *= static_cast<double>(length);
    }
    elements += product;
  }
  std::vector<StepKind> steps;
  for (const std::string& kind : kinds) {
    steps.push_back(gradwise::bench::make_step(kind, shapes));
    (void)seconds_of(steps.back().step, 2);
  }
  const int calls = static_cast<int>(std::max(1.0, 2e7 / elements));  // short steps are timed several at once
  constexpr std::int64_t kCopied = 1L << 29;
  nlohmann::json result{{"shapes", shapes_name},
                        {"tensors", shapes.size()},
                        {"elements", elements},
                        {"threads", threads},
                        {"copied_bytes", kCopied}};
  (void)gradwise::bench::copy_seconds(kCopied);
  for (int round = 0; round < repeats; ++round) {
    result["copy"].push_back(gradwise::bench::copy_seconds(kCopied));
    for (const StepKind& step : steps) {
      result["seconds"][step.name].push_back(seconds_of(step.step, calls));
    }
  }
  for (const StepKind& step : steps) {
    result["bytes_per_parameter"][step.name] = step.bytes_per_parameter;
  }
  steps.clear();
  for (const bool in_backward : {false, true}) {
    if (steps_only) {
      break;
    }
    const gradwise::bench::BackwardSteps whole = gradwise::bench::steps_with_backward(shapes, in_backward, repeats);
    result["whole_step"][in_backward ? "in_backward" : "after_backward"] = {{"seconds", whole.seconds},
                                                                            {"peak_bytes", whole.peak}};
  }
  std::puts(result.dump().c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_optimizer: %s\n", error.what());
    return 1;
  }
}
