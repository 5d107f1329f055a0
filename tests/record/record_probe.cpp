// Writes a made-up run with every sink: `record_probe FOLDER [RESUMED_AT]`. With the second argument it goes on with
// the run that stands there after that step, with every loss 100 larger.

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <memory>
#include <string>

#include "gradwise/record/jsonl.h"
#include "gradwise/record/recorder.h"
#include "gradwise/record/run_store.h"
#include "gradwise/record/tensorboard.h"
#include "tests/record/synthetic_run.h"

namespace gradwise {
namespace {

std::vector<std::unique_ptr<Sink>> sinks_for(const std::filesystem::path& folder, std::int64_t resumed_at) {
  auto store = std::make_unique<RunStoreSink>(folder / "run.sqlite");
  if (resumed_at >= 0) {
    store->forget_after(resumed_at);
    forget_jsonl_after(folder / "events.jsonl", resumed_at);
  }
  std::vector<std::unique_ptr<Sink>> sinks;
  sinks.push_back(std::move(store));
  sinks.push_back(std::make_unique<JsonlSink>(folder / "events.jsonl"));
  sinks.push_back(std::make_unique<TensorBoardSink>(folder));
  return sinks;
}

// The part of the run that is told after `resumed_at`, later in time.
Event told_again(Event event, std::int64_t resumed_at) {
  event.time += 100;
  if (auto* step = std::get_if<StepInfo>(&event.payload)) {
    step->loss += 100;
  }
  if (auto* started = std::get_if<RunStarted>(&event.payload)) {
    started->resumed_at = resumed_at;
    event.step = resumed_at;
  }
  return event;
}

void write_run(const std::filesystem::path& folder, std::int64_t resumed_at) {
  Recorder recorder(sinks_for(folder, resumed_at));
  for (const Event& event : synthetic_run()) {
    if (resumed_at < 0) {
      recorder.record(event);
    } else if (event.step > resumed_at || std::holds_alternative<RunStarted>(event.payload)) {
      recorder.record(told_again(event, resumed_at));
    }
  }
}

}  // namespace
}  // namespace gradwise

int main(int count, char** words) {
  if (count < 2) {
    std::fputs("usage: record_probe FOLDER [RESUMED_AT]\n", stderr);
    return 2;
  }
  try {
    gradwise::write_run(words[1], count > 2 ? std::atoll(words[2]) : -1);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
