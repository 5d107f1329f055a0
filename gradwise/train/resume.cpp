#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "gradwise/core/error.h"
#include "gradwise/core/random_state.h"
#include "gradwise/train/loop_impl.h"

namespace gradwise {
namespace {

at::Tensor to_tensor(const std::vector<double>& values) {
  at::Tensor tensor = at::empty({static_cast<std::int64_t>(values.size())}, at::kDouble);
  std::ranges::copy(values, tensor.data_ptr<double>());
  return tensor;
}

std::vector<double> to_vector(const at::Tensor& tensor) {
  const double* data = tensor.const_data_ptr<double>();
  return {data, data + tensor.numel()};
}

State epoch_state(const EpochStats& stats) {
  State saved;
  saved.values = {{"epoch", stats.epoch},
                  {"samples", stats.samples},
                  {"clipped_steps", stats.clipped_steps},
                  {"skipped_steps", stats.skipped_steps},
                  {"peak_bytes", to_json_number(stats.peak_bytes)},
                  {"seconds", stats.seconds}};
  saved.tensors = {{"losses", to_tensor(stats.losses)},
                   {"grad_norms", to_tensor(stats.grad_norms)},
                   {"learning_rates", to_tensor(stats.learning_rates)}};
  return saved;
}

EpochStats epoch_from(const State& saved) {
  EpochStats stats;
  stats.epoch = saved.values.at("epoch").get<std::int64_t>();
  stats.samples = saved.values.at("samples").get<std::int64_t>();
  stats.clipped_steps = saved.values.at("clipped_steps").get<std::int64_t>();
  stats.skipped_steps = saved.values.at("skipped_steps").get<std::int64_t>();
  stats.peak_bytes = from_json_number(saved.values.value("peak_bytes", to_json_number(kNotMeasured)));
  stats.seconds = saved.values.at("seconds").get<double>();
  stats.losses = to_vector(saved.tensors.at("losses"));
  stats.grad_norms = to_vector(saved.tensors.at("grad_norms"));
  stats.learning_rates = to_vector(saved.tensors.at("learning_rates"));
  return stats;
}

NamedParameters all_tensors(const Model& model) {
  NamedParameters all = model.parameters;
  for (std::size_t i = 0; i < model.buffers.size(); ++i) {
    all.add(model.buffers.names[i], model.buffers.tensors[i]);
  }
  return all;
}

}  // namespace

Checkpoint AutogradTrainingLoop::Impl::live_state() {
  Checkpoint live;
  const NamedParameters all = all_tensors(optimizer.model());
  for (std::size_t i = 0; i < all.size(); ++i) {
    live.model.tensors[all.names[i]] = all.tensors[i];
  }
  live.training.nest("optimizer", optimizer.state());
  if (average) {
    live.training.nest("ema", average->state());
  }
  live.training.nest("random", random_state(optimizer.model().parameters.tensors.front().device()));
  live.training.nest("early_stopping", early_stopping.state());
  live.training.nest("epoch_under_way", epoch_state(partial));
  live.training.values["loop"] = {{"epoch", epoch},
                                  {"position", position},
                                  {"epoch_under_way", epoch_under_way},
                                  {"seconds", elapsed()},
                                  {"rate_factor", rate_factor},
                                  {"schedule", schedule ? schedule->state() : nlohmann::json()},
                                  {"schedule_length", schedule_length},
                                  {"schedule_steps", schedule_steps},
                                  {"validated_step", validated_step}};
  return live;
}

void AutogradTrainingLoop::Impl::save_checkpoint(bool best) {
  if (last_checkpoint_step == optimizer.steps() && !best) {
    return;  // this step is safe already
  }
  last_checkpoint_step = -1;  // until the earlier one is known to be safe
  writer->save(optimizer.steps(), live_state(), best);
  last_checkpoint = elapsed();
  last_checkpoint_step = optimizer.steps();
}

void AutogradTrainingLoop::Impl::save_checkpoint_if_due() {
  if (!writer) {
    return;
  }
  const CheckpointOptions& when = options.checkpoint;
  const bool by_steps = when.every_steps > 0 && optimizer.steps() % when.every_steps == 0;
  const bool by_time = when.every_seconds > 0 && elapsed() - last_checkpoint >= when.every_seconds;
  if (by_steps || by_time) {
    save_checkpoint(/*best=*/false);
  }
  tell_finished_checkpoints();
}

void AutogradTrainingLoop::Impl::tell_finished_checkpoints() {
  for (CheckpointSaved& saved : writer->take_finished()) {
    tell(Point::checkpoint, std::move(saved));
  }
}

void AutogradTrainingLoop::Impl::resume(const std::filesystem::path& path, at::Device device) {
  const Checkpoint saved = read_checkpoint(path);
  check_architecture(saved.model, all_tensors(optimizer.model()), path.string());
  place_on(device);
  try {
    load(saved, all_tensors(optimizer.model()), path.string());
  } catch (const nlohmann::json::exception& error) {
    fail("resume", path.string(), " is damaged: ", error.what());
  } catch (const std::out_of_range& error) {
    fail("resume", path.string(), " is damaged: ", error.what());
  }
  std::error_code unknown;
  const bool our_own = writer && std::filesystem::equivalent(path.parent_path(), options.checkpoint.folder, unknown);
  last_checkpoint_step = our_own ? optimizer.steps() : -1;
  // A kill between the best checkpoint and its link.
  const std::string best = "checkpoint-" + std::to_string(early_stopping.best_step());
  if (our_own && std::filesystem::exists(path.parent_path() / best)) {
    mark_best(path.parent_path(), early_stopping.best_step());
  }
}

// Weights, buffers, optimizer and average; an error before anything is changed where the state is another optimizer's.
void AutogradTrainingLoop::Impl::load_weights(const Checkpoint& saved, const NamedParameters& all,
                                              State optimizer_state, const std::string& path) {
  State ema_state = saved.training.nested("ema");
  GRADWISE_CHECK(!average || !ema_state.tensors.empty(), "resume", path, " has no averaged weights, but use_ema is on");
  optimizer.load_state(std::move(optimizer_state));
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < all.size(); ++i) {
    at::Tensor(all.tensors[i]).copy_(saved.model.tensors.at(all.names[i]));
  }
  if (average) {
    ema_state.values["decay"] = options.ema.decay;
    ema_state.values["every"] = options.ema.every;
    ema_state.values["warmup"] = options.ema.warmup;
    average->load_state(ema_state);
  }
}

// Steps and data go on from where they are: what was seen since the checkpoint is not seen again.
void AutogradTrainingLoop::Impl::roll_back() {
  rate_factor *= 0.5;
  std::string from = "no checkpoint to go back to";
  bool put_back = false;
  if (writer) {
    writer->wait();
    tell_finished_checkpoints();
  }
  if (writer && !list_checkpoints(options.checkpoint.folder).empty()) {
    std::vector<std::string> complaints;
    const auto [place, saved] = newest_checkpoint(options.checkpoint.folder, complaints);
    State optimizer_state = saved.training.nested("optimizer");
    optimizer_state.values["steps"] = optimizer.steps();
    load_weights(saved, all_tensors(optimizer.model()), std::move(optimizer_state), place.path.string());
    from = "back to the weights of step " + std::to_string(place.step);
    put_back = true;
  }
  apply_rates();
  const Event event =
      make_event(optimizer.steps(), Message{Message::Level::warning, from + "; the learning rate is halved"});
  Moment moment{.point = Point::rolled_back, .event = &event};
  moment.weights_put_back = put_back;
  notify(moment);
}

void AutogradTrainingLoop::Impl::load(const Checkpoint& saved, const NamedParameters& all, const std::string& path) {
  const nlohmann::json& loop = saved.training.values.at("loop");
  load_weights(saved, all, saved.training.nested("optimizer"), path);
  early_stopping.load_state(saved.training.nested("early_stopping"));
  partial = epoch_from(saved.training.nested("epoch_under_way"));
  epoch = loop.at("epoch").get<std::int64_t>();
  position = loop.at("position").get<std::int64_t>();
  epoch_under_way = loop.at("epoch_under_way").get<bool>();
  seconds_before = loop.at("seconds").get<double>();
  last_checkpoint = seconds_before;
  started = std::chrono::steady_clock::now();
  rate_factor = loop.value("rate_factor", 1.0);
  resumed_schedule = loop.at("schedule");
  resumed_length = loop.at("schedule_length").get<std::int64_t>();
  schedule_steps = loop.at("schedule_steps").get<std::int64_t>();
  validated_step = loop.at("validated_step").get<std::int64_t>();
  take_up_schedule();
  if (rate_factor != 1) {
    apply_rates();
  }
  set_random_state(saved.training.nested("random"), all.tensors.front().device());
}

std::filesystem::path AutogradTrainingLoop::save_checkpoint() {
  GRADWISE_CHECK(impl_->writer != nullptr, "checkpoint", "checkpoint.folder is empty, allowed: a folder to save in");
  impl_->save_checkpoint(/*best=*/false);
  try {
    impl_->writer->wait();
  } catch (...) {
    impl_->last_checkpoint_step = -1;
    throw;
  }
  impl_->tell_finished_checkpoints();
  return std::filesystem::path(impl_->options.checkpoint.folder) / ("checkpoint-" + std::to_string(steps()));
}

void AutogradTrainingLoop::resume(const std::filesystem::path& checkpoint, at::Device device) {
  impl_->resume(checkpoint, device);
}

}  // namespace gradwise
