#include "cli/run_session.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <malloc.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <optional>
#include <utility>

#include "cli/config/load_config.h"
#include "cli/config/run_facts.h"
#include "cli/config/toml_writer.h"
#include "cli/models/model_factory.h"
#include "cli/next_commands.h"
#include "cli/stop_signals.h"
#include "gradwise/core/atomic_file.h"
#include "gradwise/core/error.h"
#include "gradwise/core/random_state.h"
#include "gradwise/core/step_info.h"
#include "gradwise/data/safetensors.h"
#include "gradwise/optim/guarded_forward.h"
#include "gradwise/optim/unused_options.h"
#include "gradwise/record/jsonl.h"
#include "gradwise/record/run_store.h"
#include "gradwise/record/tensorboard.h"
#include "gradwise/record/terminal.h"
#include "gradwise/report/figures.h"
#include "gradwise/report/html_report.h"
#include "gradwise/report/text_report.h"
#include "gradwise/train/checkpoint.h"

namespace gradwise {
namespace {

// Activations and gradients of a step come back in the next one: giving their pages to the system in between costs a
// page fault for each 4 KiB, more than the arithmetic of a small network.
void keep_freed_memory() {
  ::mallopt(M_MMAP_THRESHOLD, 1 << 30);
  ::mallopt(M_TRIM_THRESHOLD, 2'000'000'000);
  ::mallopt(M_TOP_PAD, 64 << 20);
}

at::Device parse_device(const std::string& name) {
  try {
    const at::Device device(name);
    if (device.is_cpu() || device.is_cuda()) {
      (void)at::empty({1}, at::TensorOptions().device(device));
      return device;
    }
  } catch (const c10::Error&) {
    // No device's name, or of one that is not here: ATen's own message lists every backend there is.
  }
  fail_usage("config", "run.device is \"", name, "\", allowed: cpu, and cuda, cuda:0, ... where there is one");
}

void set_threads(const RunConfig& config) {
  if (config.run.threads > 0) {
    at::set_num_threads(static_cast<int>(config.run.threads));
  }
}

std::string describe_model(const ModelOptions& model) {
  return model.name == "script" ? "script " + model.file : model.name;
}

}  // namespace

RunSession::RunSession(RunConfig config, RunData data)
    : config_(std::move(config)), data_(std::move(data)), device_(parse_device(config_.run.device)) {
  config_.train.target_scaling = data_.target_scaling;
}

int RunSession::start(const RunConfig& config, const std::string& name) {
  keep_freed_memory();
  set_threads(config);
  check_config(config);
  for (const std::string& key : unused_options(config.optimizer)) {
    std::fprintf(stderr, "gradwise: warning: optimizer.%s is set, and %s has no use for it\n", key.c_str(),
                 config.optimizer.name.c_str());
  }
  RunConfig resolved = config;
  if (resolved.run.dir.empty()) {
    resolved.run.dir = "runs/" + name;
  }
  resolved.run.threads = at::get_num_threads();  // a resumed run must sum in the same order
  RunSession session(std::move(resolved), load_data(config));
  seed_everything(static_cast<std::uint64_t>(session.config_.train.seed));
  Model model = build_model(session.config_.model, session.data_.shape);
  session.config_.train.checkpoint.folder = (std::filesystem::path(session.config_.run.dir) / "checkpoints").string();
  session.loop_ =
      std::make_unique<AutogradTrainingLoop>(std::move(model), session.config_.optimizer, session.config_.train);
  session.loop_->prepare(*session.data_.train);
  session.try_first_batch();
  const std::filesystem::path folder = session.config_.run.dir;
  const bool fresh = !std::filesystem::exists(folder);
  try {
    session.enter(RunFolder::create(folder));
    write_file_atomically(session.folder_->file("config.toml"), to_toml(session.config_));
    session.open_records(-1);
    return session.run(-1);
  } catch (...) {
    if (fresh && session.loop_->steps() <= 1) {  // nothing was trained: leave the name free
      session.recorder_.reset();
      session.folder_.reset();
      std::error_code ignored;
      std::filesystem::remove_all(folder, ignored);
    }
    throw;
  }
}

void RunSession::try_first_batch() {
  const RandomStateGuard random(at::kCPU);
  const TrainingModeGuard evaluation(loop_->model(), false);
  const at::NoGradGuard no_grad;
  Batch batch;
  data_.train->start(0, 0);
  if (data_.train->next(batch)) {
    const LossFunction loss = make_loss(config_.loss.name, config_.loss.label_smoothing);
    (void)guarded_loss(loss, guarded_forward(loop_->model(), batch), batch.target);
  }
}

int RunSession::resume(const std::filesystem::path& run, const std::vector<std::string>& overrides) {
  keep_freed_memory();
  RunFolder folder = RunFolder::open(run);
  RunConfig config = load_config(folder.file("config.toml"), overrides);
  config.run.dir = run.string();
  set_threads(config);
  check_config(config);
  RunData data = load_data(config);
  RunSession session(std::move(config), std::move(data));
  seed_everything(static_cast<std::uint64_t>(session.config_.train.seed));
  Model model = build_model(session.config_.model, session.data_.shape);
  session.config_.train.checkpoint.folder = folder.checkpoints().string();
  session.loop_ =
      std::make_unique<AutogradTrainingLoop>(std::move(model), session.config_.optimizer, session.config_.train);
  session.enter(std::move(folder));
  const std::int64_t step = session.load_checkpoint();
  session.check_length(overrides, step);
  if (!overrides.empty()) {
    write_file_atomically(session.folder_->file("config.toml"), to_toml(session.config_));
  }
  session.open_records(step);
  return session.run(step);
}

// A training can't become shorter than what is done of it.
void RunSession::check_length(const std::vector<std::string>& overrides, std::int64_t steps) const {
  const auto changed = [&overrides](const char* key) {
    return std::ranges::any_of(overrides, [key](const std::string& text) { return text.starts_with(key); });
  };
  if (changed("train.epochs")) {
    const auto done = static_cast<std::int64_t>(RunReader(folder_->path()).epochs().size());
    GRADWISE_CHECK(config_.train.epochs >= done, "resume", "train.epochs is ", config_.train.epochs,
                   ", allowed: at least the ", done, " that are done");
  }
  const std::int64_t most = config_.train.max_steps;
  GRADWISE_CHECK(!changed("train.max_steps") || most == 0 || most >= steps, "resume", "train.max_steps is ", most,
                 ", allowed: at least the ", steps, " that are done, or 0 for no limit");
}

void RunSession::enter(RunFolder folder) { folder_ = std::make_unique<RunFolder>(std::move(folder)); }

std::int64_t RunSession::load_checkpoint() {
  const std::filesystem::path checkpoints = folder_->checkpoints();
  if (list_checkpoints(checkpoints).empty()) {
    std::printf("the run has no checkpoint yet: it starts from the beginning\n");
    return 0;
  }
  std::vector<std::string> complaints;
  const CheckpointPlace place = newest_checkpoint(checkpoints, complaints).first;
  for (const std::string& complaint : complaints) {
    std::fprintf(stderr, "gradwise: warning: %s\n", complaint.c_str());
  }
  loop_->resume(place.path, device_);
  std::printf("going on from %s\n", place.path.c_str());
  return place.step;
}

void RunSession::open_records(std::int64_t resumed_at) {
  std::vector<std::unique_ptr<Sink>> sinks;
  auto store = std::make_unique<RunStoreSink>(folder_->file("run.sqlite"));
  if (resumed_at >= 0) {
    store->forget_after(resumed_at);
  }
  sinks.push_back(std::move(store));
  if (config_.run.jsonl) {
    if (resumed_at >= 0) {
      forget_jsonl_after(folder_->file("events.jsonl"), resumed_at);
    }
    sinks.push_back(std::make_unique<JsonlSink>(folder_->file("events.jsonl")));
  }
  if (config_.run.tensorboard) {
    sinks.push_back(std::make_unique<TensorBoardSink>(folder_->path()));
  }
  sinks.push_back(std::make_unique<TerminalSink>(stdout, config_.run.terminal));
  recorder_ = std::make_unique<Recorder>(std::move(sinks), config_.run.recorder);
  loop_->add_observer(*recorder_);
  start_watching();
}

void RunSession::start_watching() {
  if (!config_.watch.enabled) {
    return;
  }
  monitor_ = std::make_unique<TrainingMonitor>(loop_->model(), run_facts(config_, data_), config_.watch,
                                               [this](Event event) { recorder_->record(std::move(event)); });
  if (loop_->ema() != nullptr) {
    monitor_->watch_average([loop = loop_.get()] { return loop->ema()->averages(); });
  }
  loop_->add_observer(*monitor_);
}

void RunSession::tell(Payload payload) { recorder_->record(make_event(loop_->steps(), std::move(payload))); }

int RunSession::run(std::int64_t resumed_at) {
  RunStarted started;
  started.name = folder_->path().filename().string();
  started.model = describe_model(config_.model);
  started.device = config_.run.device;
  started.parameters = loop_->model().parameters.numel();
  started.threads = at::get_num_threads();
  started.epochs = config_.train.epochs;
  started.steps_per_epoch = steps_per_epoch(config_, *data_.train);
  started.monitor = config_.train.monitor;
  started.resumed_at = resumed_at;
  tell(std::move(started));
  const LossFunction loss = make_loss(config_.loss.name, config_.loss.label_smoothing);
  try {
    const StopSignals signals(*loop_);
    const FitResult result = loop_->fit(*data_.train, data_.test.get(), loss, device_);
    diagnose();
    tell(RunFinished{result.status, result.reason});
    if (result.status == "interrupted") {
      return interrupted(StopSignals::received());
    }
    if (resumed_at > 0 && result.steps == resumed_at) {
      recorder_->drain();
      std::printf("the run has nothing left to do: %s\n", result.reason.c_str());
    }
    finish(result);
  } catch (const std::exception& error) {
    diagnose();
    tell(RunFinished{"failed", error.what()});
    recorder_->drain();
    throw;
  }
  return tell_lost_records();
}

void RunSession::diagnose() {
  if (!monitor_) {
    return;
  }
  const std::vector<Finding> findings = monitor_->diagnosis().findings();
  tell(Diagnosed{findings});
  recorder_->drain();
  if (!findings.empty()) {
    std::printf("\ndiagnosis, most likely cause first\n%s", text_of(findings).c_str());
  }
}

int RunSession::tell_lost_records() const {
  const std::vector<std::string> failures = recorder_->failures();
  for (const std::string& failure : failures) {
    std::fprintf(stderr, "gradwise: error: a record was lost: %s\n", failure.c_str());
  }
  return failures.empty() ? 0 : 1;
}

int RunSession::interrupted(int signal) {
  recorder_->drain();
  std::printf("saved at step %lld; go on with: gradwise train --resume %s\n", static_cast<long long>(loop_->steps()),
              folder_->path().c_str());
  return 128 + signal;
}

void RunSession::save_weights() {
  std::map<std::string, at::Tensor> tensors;
  const Model& model = loop_->model();
  for (const NamedParameters* group : {&model.parameters, &model.buffers}) {
    for (std::size_t i = 0; i < group->size(); ++i) {
      tensors[group->names[i]] = group->tensors[i].detach().cpu().contiguous();
    }
  }
  if (ExponentialMovingAverage* average = loop_->ema(); average != nullptr && average->num_updates() > 0) {
    const NamedParameters averages = average->averages();
    for (std::size_t i = 0; i < averages.size(); ++i) {
      tensors[averages.names[i]] = averages.tensors[i].detach().cpu().contiguous();
    }
  }
  std::map<std::string, std::string> facts{{"format", "pt"}};
  if (!data_.target_scaling.empty()) {  // what a user needs to put outputs into the data's units
    facts["target_mean"] = toml_value(data_.target_scaling.mean);
    facts["target_std"] = toml_value(data_.target_scaling.stddev);
  }
  write_safetensors(folder_->file("model.safetensors"), tensors, facts);
}

void RunSession::finish(const FitResult& result) {
  const LossFunction loss = make_loss(config_.loss.name, config_.loss.label_smoothing);
  std::optional<ValidationStats> test;
  if (data_.test) {
    test = loop_->validate(*data_.test, loss, device_);
  }
  const bool split = config_.data.test_images.empty() && config_.data.test_file.empty();
  if (test && !split) {  // a split's figures are on record as the last validation
    tell(Validated{.epoch = result.epochs - 1,
                   .data = "test",
                   .loss = test->validation_loss,
                   .metrics = test->metrics,
                   .seconds = test->seconds,
                   .averaged = loop_->ema() != nullptr,
                   .best = false});
  }
  save_weights();
  recorder_->drain();
  const RunReader reader(folder_->path());
  write_report(reader, folder_->file("report.txt"));
  write_html_report(reader, folder_->file("report.html"));
  const PlotStatus plot = plot_training(reader, folder_->file("training.png"));
  const std::string run = folder_->path().string();
  std::printf("\nrun      %s\nweights  %s/model.safetensors%s\nreport   %s/report.txt, report.html\n", run.c_str(),
              run.c_str(), loop_->ema() != nullptr ? " (averaged)" : "", run.c_str());
  std::printf(plot.drawn ? "picture  %s/training.png\n" : "picture  none: %s\n",
              plot.drawn ? run.c_str() : plot.reason.c_str());
  if (test) {
    const char* data = split ? "validation" : "test";
    std::printf("%s loss: %.4f%s\n", data, plain_nan(test->validation_loss),
                data_.target_scaling.empty() ? "" : " (of standardized targets)");
    for (const auto& [name, value] : test->metrics) {
      const bool share = name == "accuracy" || name.starts_with("top_");
      std::printf(share ? "%s %s: %.2f %%\n" : "%s %s: %.4f\n", data, name.c_str(),
                  plain_nan(share ? 100 * value : value));
    }
  }
  const bool broke = (!result.history.empty() && !result.history.back().losses.empty() &&
                      !std::isfinite(result.history.back().losses.back())) ||
                     (test && !std::isfinite(test->validation_loss));
  std::printf("%s", next_commands(run, config_.train, result, broke).c_str());
}

}  // namespace gradwise
