// Training speed of Gradwise, for run_training.py, which compares it with PyTorch. Each mode prints one JSON object:
//   bench_training loop --model mlp --folder DIR        images per second of the loop with everything on
//   bench_training hand --model mlp                     of the same loop written by hand
//   bench_training cost --model tiny --folder DIR       both in turn in one process: seconds a step of each round
//   bench_training watch --model mlp                    seconds a step, plain and with what may be watched
//   bench_training call                                 seconds of a call on one number, of each round
//   bench_training checkpoint --folder DIR              blocking time of a checkpoint, and of a copy of its bytes
#include <ATen/ops/ones.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "benchmarks/training/checkpoint_cost.h"
#include "benchmarks/training/full_loop.h"
#include "benchmarks/training/hand_loop.h"
#include "benchmarks/training/setting.h"
#include "gradwise/autograd/functions/custom_function.h"

namespace gradwise::bench {
namespace {

using nlohmann::json;

json speed_of(std::int64_t images, double seconds) {
  return {{"images", images}, {"seconds", seconds}, {"images_per_second", static_cast<double>(images) / seconds}};
}

json run_loop(const Setting& setting) {
  const auto source = make_source(setting);
  FullLoop loop(setting, 1 + setting.epochs);
  loop.train_epoch(*source);
  const Stopwatch watch;
  const std::int64_t images = loop.fit(*source);
  return speed_of(images, watch.seconds());
}

json run_hand(const Setting& setting) {
  const auto source = make_source(setting);
  HandLoop loop(setting, (1 + setting.epochs) * source->batches_per_epoch());
  (void)loop.train_epoch(*source);
  const Stopwatch watch;
  std::int64_t images = 0;
  for (std::int64_t epoch = 0; epoch < setting.epochs; ++epoch) {
    images += loop.train_epoch(*source);
  }
  return speed_of(images, watch.seconds());
}

json run_cost(const Setting& setting, std::int64_t rounds) {
  const auto source = make_source(setting);
  FullLoop loop(setting, 1 + rounds);
  HandLoop hand(setting, (1 + rounds) * source->batches_per_epoch());
  const auto steps = static_cast<double>(source->batches_per_epoch());
  std::vector<double> loop_seconds;
  std::vector<double> hand_seconds;
  for (std::int64_t round = 0; round <= rounds; ++round) {
    const Stopwatch loop_watch;
    loop.train_epoch(*source);
    const double by_loop = loop_watch.seconds() / steps;
    const Stopwatch hand_watch;
    (void)hand.train_epoch(*source);
    const double by_hand = hand_watch.seconds() / steps;
    if (round > 0) {  // the first warms up
      loop_seconds.push_back(by_loop);
      hand_seconds.push_back(by_hand);
    }
  }
  return {{"steps_per_round", steps}, {"loop_seconds_per_step", loop_seconds}, {"hand_seconds_per_step", hand_seconds}};
}

// Seconds a step of the loop by hand: as it is, and with what may be watched, in turn.
json run_watch(const Setting& setting, std::int64_t rounds) {
  const auto source = make_source(setting);
  const auto steps = static_cast<double>(source->batches_per_epoch());
  const std::int64_t all_steps = (1 + rounds) * source->batches_per_epoch();
  std::vector<std::pair<std::string, std::unique_ptr<HandLoop>>> loops;
  for (const char* name : {"plain", "watched", "histograms", "walked"}) {
    loops.emplace_back(name, std::make_unique<HandLoop>(setting, all_steps, HandLoop::Update::gradwise));
  }
  loops[1].second->watch();
  loops[2].second->watch({.histograms_every = 10});
  loops[3].second->walk(10);
  json seconds;
  for (std::int64_t round = 0; round <= rounds; ++round) {
    for (std::size_t i = 0; i < loops.size(); ++i) {  // another one first in each round
      const auto& [name, loop] = loops[(i + static_cast<std::size_t>(round)) % loops.size()];
      const Stopwatch stopwatch;
      (void)loop->train_epoch(*source);
      if (round > 0) {  // the first warms up
        seconds[name].push_back(stopwatch.seconds() / steps);
      }
    }
  }
  return seconds;
}

// The core's part of a call from Python, for run_python.py.
json run_call(std::int64_t rounds) {
  constexpr int kCalls = 100'000;
  const at::Tensor one = at::ones({1});
  std::vector<double> seconds;
  for (std::int64_t round = 0; round < rounds; ++round) {
    const Stopwatch stopwatch;
    for (int call = 0; call < kCalls; ++call) {
      (void)custom_leaky_relu(one);
    }
    seconds.push_back(stopwatch.seconds() / kCalls);
  }
  return {{"seconds", seconds}};
}

json run_checkpoint(const Setting& setting, std::int64_t parameters, std::int64_t rounds) {
  const CheckpointCost cost = measure_checkpoint(setting.folder, parameters, rounds);
  return {{"bytes", cost.bytes},
          {"first_seconds", cost.first_seconds},
          {"blocked_seconds", cost.blocked},
          {"copy_seconds", cost.copied},
          {"saved_seconds", cost.until_saved}};
}

}  // namespace
}  // namespace gradwise::bench

int main(int count, char** words) {
  using namespace gradwise::bench;
  Setting setting;
  std::int64_t rounds = 7;
  std::int64_t parameters = 100'000'000;
  CLI::App app("Training speed of Gradwise");
  app.require_subcommand(1);
  app.fallthrough();
  app.add_option("--model", setting.model, "mlp, cnn or tiny")->check(CLI::IsMember({"mlp", "cnn", "tiny"}));
  app.add_option("--data", setting.data, "folder of Fashion-MNIST's IDX files");
  app.add_option("--folder", setting.folder, "where runs and checkpoints are written");
  app.add_option("--images", setting.images, "images in an epoch");
  app.add_option("--epochs", setting.epochs, "measured epochs");
  app.add_option("--threads", setting.threads, "threads; 0: LibTorch's choice");
  app.add_option("--rounds", rounds, "of cost, watch, call and checkpoint");
  app.add_option("--parameters", parameters, "of the checkpoint");
  const CLI::App* loop = app.add_subcommand("loop", "Gradwise's loop with everything on");
  const CLI::App* hand = app.add_subcommand("hand", "the same loop by hand");
  const CLI::App* cost = app.add_subcommand("cost", "both in turn");
  const CLI::App* watch = app.add_subcommand("watch", "the loop by hand, plain and watched in turn");
  const CLI::App* call = app.add_subcommand("call", "a call on one number");
  app.add_subcommand("checkpoint", "blocking time of a checkpoint");
  CLI11_PARSE(app, count, words);
  try {
    set_up_process(setting);
    const nlohmann::json result = loop->parsed()    ? run_loop(setting)
                                  : hand->parsed()  ? run_hand(setting)
                                  : cost->parsed()  ? run_cost(setting, rounds)
                                  : watch->parsed() ? run_watch(setting, rounds)
                                  : call->parsed()  ? run_call(rounds)
                                                    : run_checkpoint(setting, parameters, rounds);
    std::printf("%s\n", result.dump().c_str());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_training: %s\n", error.what());
    return 1;
  }
  return 0;
}
