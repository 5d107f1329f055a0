#include "benchmarks/training/full_loop.h"

#include <utility>
#include <vector>

#include "gradwise/record/jsonl.h"
#include "gradwise/record/run_store.h"
#include "gradwise/record/tensorboard.h"
#include "gradwise/train/losses.h"

namespace gradwise::bench {
namespace {

std::unique_ptr<Recorder> make_recorder(const RunFolder& folder) {
  std::vector<std::unique_ptr<Sink>> sinks;
  sinks.push_back(std::make_unique<RunStoreSink>(folder.file("run.sqlite")));
  sinks.push_back(std::make_unique<JsonlSink>(folder.file("events.jsonl")));
  sinks.push_back(std::make_unique<TensorBoardSink>(folder.path()));
  return std::make_unique<Recorder>(std::move(sinks));
}

LoopOptions options_of(const RunFolder& folder, std::int64_t epochs) {
  LoopOptions options;
  options.epochs = epochs;
  options.use_ema = true;
  options.ema.decay = kDecay;
  options.step.clip.max_norm = kMaxNorm;
  options.schedule.name = "cosine";
  options.checkpoint.folder = folder.checkpoints().string();
  return options;
}

}  // namespace

FullLoop::FullLoop(const Setting& setting, std::int64_t epochs)
    : folder_(RunFolder::create(setting.folder)),
      recorder_(make_recorder(folder_)),
      loss_(make_loss("cross_entropy")),
      loop_(make_model(setting), make_optimizer_options(), options_of(folder_, epochs)) {
  loop_.add_observer(*recorder_);
}

void FullLoop::train_epoch(BatchSource& source) { (void)loop_.train_epoch(source, loss_); }

std::int64_t FullLoop::fit(BatchSource& source) {
  const FitResult result = loop_.fit(source, nullptr, loss_);
  recorder_->drain();
  std::int64_t images = 0;
  for (const EpochStats& epoch : result.history) {
    images += epoch.samples;
  }
  return images;
}

}  // namespace gradwise::bench
