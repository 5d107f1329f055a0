#pragma once

#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "gradwise/record/jsonl.h"
#include "gradwise/record/recorder.h"
#include "gradwise/record/run_folder.h"
#include "gradwise/record/run_store.h"
#include "gradwise/record/tensorboard.h"

namespace gradwise::python {

/// A run's folder with everything that writes to it.
struct Recording {
  explicit Recording(const std::filesystem::path& path) : folder(RunFolder::create(path)) {
    std::vector<std::unique_ptr<Sink>> sinks;
    sinks.push_back(std::make_unique<RunStoreSink>(folder.file("run.sqlite")));
    sinks.push_back(std::make_unique<JsonlSink>(folder.file("events.jsonl")));
    sinks.push_back(std::make_unique<TensorBoardSink>(folder.path()));
    recorder = std::make_unique<Recorder>(std::move(sinks));
  }
  RunFolder folder;
  std::unique_ptr<Recorder> recorder;
};

}  // namespace gradwise::python
