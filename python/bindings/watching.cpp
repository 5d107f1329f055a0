#include "python/bindings/watching.h"

#include <span>
#include <utility>

#include "gradwise/core/named_parameters.h"
#include "gradwise/optim/weight_statistics.h"
#include "python/bindings/interpreter_lock.h"
#include "python/bindings/keywords.h"
#include "python/bindings/models.h"
#include "python/bindings/records.h"
#include "python/bindings/room_for_hooks.h"

namespace gradwise::python {

Watching::Watching(const py::object& module, const py::dict& facts, const py::dict& options, const std::string& run)
    : model_(adapt_module(module)) {
  const auto asked = options_from<MonitorOptions>("watch", options);
  RunFacts known;
  known.loss = facts["loss"].cast<std::string>();
  known.optimizer = facts["optimizer"].cast<std::string>();
  known.weight_decay = facts["weight_decay"].cast<double>();
  known.decoupled_decay = facts["decoupled_decay"].cast<bool>();
  known.batch_size = facts["batch_size"].cast<std::int64_t>();
  known.tables = facts["tables"].cast<std::vector<std::string>>();
  if (!run.empty()) {
    recording_ = std::make_unique<Recording>(run);
    RunStarted started =
        run_started(facts["name"].cast<std::string>(), facts["model"].cast<std::string>(), model_.parameters);
    recording_->recorder->record(make_event(0, std::move(started)));
  }
  keep_room_for_hooks(model_.parameters);
  monitor_ = std::make_unique<TrainingMonitor>(model_, known, asked, [this](Event event) {
    if (const auto* issue = std::get_if<Issue>(&event.payload)) {
      news_.push_back(*issue);
    }
    record(std::move(event));
  });
}

void Watching::forward_end(const at::Tensor& loss) {
  const WithoutLock released;
  finish_waiting();
  const Batch none;
  const at::Tensor output;
  Moment moment{.point = Point::forward_end};
  moment.step = steps_;
  moment.batch = &none;
  moment.output = &output;
  moment.loss = &loss;
  (void)monitor_->on(moment);
}

void Watching::begin_update(double scale, double lr, double loss_scale, const Fused* fused) {
  if (closed()) {
    return;
  }
  const double norm = told_norm_ ? *told_norm_ : read_gradients(scale, fused);
  told_norm_.reset();
  put(norm, lr, loss_scale);
  clock_->update_start();
}

void Watching::end_update(bool skipped, const Fused* fused) {
  clock_->update_end();
  if (step_ && !closed()) {
    take_moments(fused);
    step_->skipped = skipped;
    end_step();
  }
}

void Watching::end_alone(double scale, double loss_scale, const Fused* fused) {
  begin_update(scale, kNotMeasured, loss_scale, fused);
  take_moments(fused);
  end_step();
}

void Watching::end_skipped(double lr, double loss_scale, const Fused* fused) {
  told_norm_.reset();
  put(read_gradients(1 / loss_scale, fused), lr, loss_scale);
  step_->skipped = true;
  end_step();
}

void Watching::drop_gradients() {
  if (!closed()) {
    monitor_->watch().drop_gradients();
  }
}

void Watching::expect_backwards(std::int64_t count) {
  const WithoutLock released;
  Moment moment{.point = Point::batch_start};
  moment.micro_batches = count;
  (void)monitor_->on(moment);
}

void Watching::tell_loss(double loss) {
  if (closed()) {
    return;
  }
  if (ready_ && told_before_update_ && monitor_->watch().arrived()) {
    const WithoutLock released;
    finish_waiting();
  }
  told_loss_ += loss;
  ++losses_;
  if (!ready_) {  // the update that it belongs to may be to come, and is where the gradients are complete
    arrivals_at_loss_ = monitor_->watch().arrivals();
    told_before_update_ = told_before_update_ || told_norm_;
  }
}

py::object Watching::finish(std::optional<std::int64_t> samples) {
  told_samples_ = samples ? samples : told_samples_;
  if (ready_ && !closed()) {
    const WithoutLock released;
    finish_waiting();
  }
  if (!std::exchange(ended_, false)) {
    return py::none();
  }
  py::list news = list_of(news_);
  news_.clear();
  return news;
}

py::dict Watching::last_step() const {
  if (steps_ == 0) {
    return {};
  }
  using namespace py::literals;
  const StepTimes& t = last_.seconds;
  return py::dict("step"_a = last_.step, "loss"_a = last_.loss_told ? py::object(py::float_(last_.loss)) : py::none(),
                  "grad_norm"_a = last_.grad_norm, "param_norm"_a = last_.param_norm,
                  "update_norm"_a = last_.update_norm, "update_ratio"_a = last_.update_ratio, "lr"_a = last_.lr,
                  "loss_scale"_a = last_.loss_scale, "skipped"_a = last_.skipped, "samples"_a = last_.samples,
                  "micro_batches"_a = last_.micro_batches,
                  "seconds"_a = py::dict("data"_a = t.data, "forward"_a = t.forward, "backward"_a = t.backward,
                                         "update"_a = t.update, "total"_a = t.total));
}

py::dict Watching::readings() const {
  if (!monitor_) {
    return last_readings_;
  }
  py::dict dict;
  const History& history = monitor_->history();
  if (history.empty() || !history.now().reading) {
    return dict;
  }
  const StepReading& reading = *history.now().reading;
  for (std::size_t i = 0; i < reading.parameters.size(); ++i) {
    dict[py::str(history.facts.parameters[i].name)] = dict_of(reading.parameters[i]);
  }
  return dict;
}

py::list Watching::diagnosis() const {
  py::list list;
  for (const Finding& finding : monitor_->diagnosis().findings()) {
    list.append(dict_of(finding));
  }
  return list;
}

void Watching::close(const std::string& status, const std::string& reason) {
  last_readings_ = readings();
  const WithoutLock released;
  if (recording_) {
    record(make_event(steps_, Diagnosed{monitor_->diagnosis().findings()}));
    record(make_event(steps_, RunFinished{status, reason}));
    recording_->recorder->drain();
    recording_.reset();
  }
  monitor_.reset();
  model_ = {};
}

double Watching::read_gradients(double scale, const Fused* fused) {
  clock_->backward_end();
  const WithoutLock released;
  finish_waiting();
  told_before_update_ = losses_ > 0 && monitor_->watch().arrivals() == arrivals_at_loss_;
  measured_ = false;
  place_fused(fused);
  double norm = kNotMeasured;
  Moment moment{.point = Point::backward_end};
  moment.step = steps_;
  moment.gradient_scale = scale;
  moment.measured_update = !fused_order_.empty();
  moment.gradient_norm = &norm;
  (void)monitor_->on(moment);
  return norm * scale;
}

void Watching::put(double norm, double lr, double loss_scale) {
  step_.emplace();
  step_->grad_norm = step_->grad_norm_clipped = norm;
  step_->lr = lr;
  step_->loss_scale = loss_scale;
}

void Watching::take_moments(const Fused* fused) {
  measured_ = !fused_order_.empty() && fused == placed_;
  if (measured_) {
    const std::span<const WeightMoments> found = fused->get().weight_moments();
    WeightMoments all;
    for (std::size_t i = 0; i < fused_order_.size(); ++i) {
      if (fused_order_[i]) {
        moments_[i] = found[*fused_order_[i]];
        all.merge(moments_[i]);
      }
    }
    put_update(all, *step_);
  }
}

void Watching::end_step() {
  clock_->take(*step_);
  ready_ = true;
}

void Watching::finish_waiting() {
  if (!std::exchange(ready_, false) || closed()) {
    return;
  }
  ended_ = true;
  step_->step = ++steps_;
  step_->loss_told = losses_ > 0 || supposed_loss_;
  step_->loss = losses_ > 0 ? told_loss_ / static_cast<double>(losses_) : supposed_loss_.value_or(kNotMeasured);
  told_loss_ = 0;
  losses_ = 0;
  step_->samples = std::exchange(told_samples_, std::nullopt).value_or(step_->samples);
  skipped_ += step_->skipped ? 1 : 0;
  step_->skipped_in_all = skipped_;
  last_ = *step_;
  const Event event = make_event(steps_, *std::move(step_));
  Moment moment{.point = Point::step_end, .event = &event};
  moment.step = steps_;
  moment.weights = measured_ ? std::span<const WeightMoments>(moments_) : std::span<const WeightMoments>();
  (void)monitor_->on(moment);
  record(event);
  step_.reset();
}

void Watching::record(Event event) {
  if (recording_) {
    recording_->recorder->record(std::move(event));
  }
}

void Watching::place_fused(const Fused* fused) {
  const std::shared_ptr<const RunFacts> facts = monitor_->facts();
  if (fused == placed_ && facts == placed_facts_) {
    return;
  }
  placed_ = fused;
  placed_facts_ = facts;
  fused_order_.clear();
  moments_.assign(facts->parameters.size(), {});
  if (fused == nullptr || !fused->get().measures()) {
    return;
  }
  for (std::size_t i = 0; i < facts->parameters.size(); ++i) {
    fused_order_.push_back(fused->get().place_of(model_.parameters.tensors[i]));
    if (!fused_order_.back() && facts->parameters[i].trainable) {
      fused_order_.clear();
      return;
    }
  }
}

}  // namespace gradwise::python
