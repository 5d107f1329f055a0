#pragma once

#include <ATen/Parallel.h>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gradwise/core/event.h"
#include "gradwise/core/named_parameters.h"
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

/// A run's first event, with what the model's parameters tell.
[[nodiscard]] inline RunStarted run_started(std::string name, std::string model, const NamedParameters& parameters) {
  RunStarted started;
  started.name = std::move(name);
  started.model = std::move(model);
  started.device = parameters.size() > 0 ? parameters.tensors.front().device().str() : "cpu";
  started.parameters = parameters.numel();
  started.threads = at::get_num_threads();
  return started;
}

}  // namespace gradwise::python
