#include "python/bindings/loop_records.h"

#include <cstdio>
#include <filesystem>
#include <utility>
#include <vector>

#include "gradwise/core/model.h"
#include "gradwise/optim/ema.h"
#include "gradwise/record/terminal.h"

namespace gradwise::python {

LoopRecords::LoopRecords(bool progress, const std::string& run) {
  if (!run.empty()) {
    recording_ = std::make_unique<Recording>(run);
  }
  if (progress) {
    std::vector<std::unique_ptr<Sink>> sinks;
    sinks.push_back(std::make_unique<TerminalSink>(stderr));
    terminal_ = std::make_unique<Recorder>(std::move(sinks));
  }
}

void LoopRecords::attach(AutogradTrainingLoop& loop, const std::string& optimizer) {
  loop_ = &loop;
  if (terminal_) {
    loop.add_observer(*terminal_);
  }
  if (recording_) {
    loop.add_observer(*recording_->recorder);
    RunFacts facts;
    facts.optimizer = optimizer;
    watch_ = std::make_unique<TrainingMonitor>(loop.model(), std::move(facts), MonitorOptions{},
                                               [this](Event event) { tell(event); });
    if (loop.ema() != nullptr) {
      watch_->watch_average([&loop] { return loop.ema()->averages(); });
    }
    loop.add_observer(*watch_);
  }
}

void LoopRecords::begin(const std::string& model, std::int64_t epochs, std::int64_t steps_per_epoch,
                        const std::string& monitor) {
  under_way_ = true;
  if (std::exchange(begun_, true)) {
    return;
  }
  RunStarted started = run_started(recording_ ? recording_->folder.path().filename().string() : "training", model,
                                   loop_->model().parameters);
  started.epochs = epochs;
  started.steps_per_epoch = steps_per_epoch;
  started.monitor = monitor;
  started.resumed_at = loop_->steps() > 0 ? loop_->steps() : -1;
  tell(make_event(loop_->steps(), std::move(started)));
}

void LoopRecords::end(const std::string& status, const std::string& reason) {
  if (!std::exchange(under_way_, false)) {
    return;
  }
  if (watch_) {
    tell(make_event(loop_->steps(), Diagnosed{watch_->diagnosis().findings()}));
  }
  tell(make_event(loop_->steps(), RunFinished{status, reason}));
  if (recording_) {
    recording_->recorder->drain();
  }
  if (terminal_) {
    terminal_->drain();
  }
}

void LoopRecords::tell(const Event& event) {
  if (recording_) {
    recording_->recorder->record(event);
  }
  if (terminal_) {
    terminal_->record(event);
  }
}

}  // namespace gradwise::python
