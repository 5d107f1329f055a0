#include "gradwise/monitor/training_monitor.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_foreach_sub.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "gradwise/autograd/graph_walk.h"
#include "gradwise/core/error.h"
#include "gradwise/core/nearest_name.h"
#include "gradwise/monitor/as_initialized.h"
#include "gradwise/monitor/batch_reading.h"
#include "gradwise/monitor/loss_probe.h"
#include "gradwise/monitor/noise_scale.h"

namespace gradwise {
namespace {

// The first step is always looked at.
bool due(std::int64_t every, std::int64_t step) { return every > 0 && (step % every == 0 || step == 1); }

double norm_of(const std::vector<at::Tensor>& tensors) {
  return at::stack(at::_foreach_norm(tensors, 2)).norm().to(at::kDouble).item<double>();
}

bool any_of(const std::vector<Issue>& issues, const std::vector<std::string>& rules) {
  return std::any_of(issues.begin(), issues.end(), [&rules](const Issue& issue) {
    return std::find(rules.begin(), rules.end(), issue.rule) != rules.end();
  });
}

void check_policies(const MonitorOptions& options, const RuleBook& rules) {
  std::vector<std::string> known;
  for (const Rule& rule : rules.rules()) {
    known.push_back(rule.name);
  }
  for (const std::vector<std::string>* list : {&options.stop_on, &options.skip_on, &options.roll_back_on}) {
    for (const std::string& name : *list) {
      GRADWISE_CHECK(std::ranges::find(known, name) != known.end(), "watch", "\"", name,
                     "\" is not among the rules that are asked for", did_you_mean(name, known));
    }
  }
}

}  // namespace

RunFacts facts_of(const Model& model) {
  RunFacts facts;
  for (std::size_t i = 0; i < model.parameters.size(); ++i) {
    const at::Tensor& tensor = model.parameters.tensors[i];
    const bool frozen = !tensor.requires_grad();
    facts.parameters.push_back(
        {model.parameters.names[i], tensor.sizes().vec(), !frozen, frozen && looks_as_initialized(tensor)});
  }
  return facts;
}

struct TrainingMonitor::Impl {
  Impl(const Model& given_model, RunFacts given, MonitorOptions asked, Emit sink)
      : options(std::move(asked)),
        model(given_model),
        parameters(model.parameters),
        watch(parameters, options.gradients),
        book(options.rules),
        emit(std::move(sink)),
        readings(History::kKeptSteps + 64) {
    check_fields("watch", options);
    check_policies(options, book);
    given.parameters = facts_of(model).parameters;
    for (ParameterFacts& known : given.parameters) {
      known.table = std::ranges::find(given.tables, known.name) != given.tables.end();
    }
    history.facts = given;
    facts = std::make_shared<const RunFacts>(std::move(given));
  }

  // A reading to fill in: one that nobody holds any more, with the memory that it has.
  std::shared_ptr<StepReading> blank() {
    std::shared_ptr<StepReading>& kept = readings[next_reading++ % readings.size()];
    if (!kept || kept.use_count() > 1) {
      kept = std::make_shared<StepReading>();
    }
    kept->histograms.clear();
    kept->activations.clear();
    kept->batch_norms.clear();
    kept->unread_activations = 0;
    kept->loss_path.clear();
    kept->batch.reset();
    kept->loss_after = kept->noise_scale = kept->ema_distance = kNotMeasured;
    return kept;
  }

  // Whether the activations of this very loss tell where numbers broke: after its update, all of them may have. Looking
  // at a loss on another device would wait for it.
  [[nodiscard]] bool breaks_at(const at::Tensor& loss) const {
    return options.activations_every > 0 && !break_is_read && loss.device().is_cpu() && loss.is_floating_point() &&
           loss.numel() == 1 && !std::isfinite(loss.item<double>());
  }

  void read_forward(const Moment& moment) {
    const std::int64_t step = moment.step + 1;  // the one under way
    if (!now) {
      now = blank();
    }
    const bool breaks = breaks_at(*moment.loss);  // of several micro-batches, the first that does counts
    const bool wanted = due(options.activations_every, step) || kept_from_breaking || owes_activations;
    if (breaks || (wanted && now->activations.empty())) {
      break_is_read = break_is_read || breaks;
      GraphWalk walk = walk_graph(*moment.loss, parameters);
      now->activations = std::move(walk.activations);
      now->batch_norms = std::move(walk.batch_norms);
      now->unread_activations = walk.hidden + walk.unreadable;
      now->loss_path = std::move(walk.loss_path);
    }
    if (due(options.batches_every, step) || owes_batch) {
      now->batch = std::make_shared<const BatchReading>(read_batch(*moment.batch, *moment.output, facts->classes));
    }
    if (probe) {
      probe->take(*moment.batch, *moment.loss);
    }
  }

  void read_gradients(const Moment& moment) {
    (void)watch.step(moment.gradient_scale, moment.measured_update);
    if (moment.gradient_norm != nullptr) {
      *moment.gradient_norm = watch.gradient_norm();
    }
    gradients_read = true;
  }

  // What has trained once is not as it was initialised.
  void take_trained() {
    if (std::exchange(trained_version, watch.trained_version()) == watch.trained_version()) {
      return;
    }
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      ParameterFacts& known = history.facts.parameters[i];
      if (watch.trained()[i] && !known.trainable) {
        diagnosis.withdraw("frozen_as_initialized", known.name);
      }
      known.as_initialized = known.as_initialized && !watch.trained()[i];
      known.trainable = watch.trained()[i];
    }
    facts = std::make_shared<const RunFacts>(history.facts);
  }

  void read_average() {
    if (!averages || !due(options.record_every, history.step() + 1)) {
      return;
    }
    const at::NoGradGuard no_grad;
    const NamedParameters average = averages();
    std::vector<at::Tensor> weights;
    std::vector<at::Tensor> averaged;
    for (std::size_t i = 0; i < average.size(); ++i) {
      const auto found = std::find(parameters.names.begin(), parameters.names.end(), average.names[i]);
      if (found != parameters.names.end()) {
        weights.push_back(parameters.tensors[static_cast<std::size_t>(found - parameters.names.begin())]);
        averaged.push_back(average.tensors[i]);
      }
    }
    const double norm = norm_of(weights);
    now->ema_distance = norm > 0 ? norm_of(at::_foreach_sub(weights, averaged)) / norm : kNotMeasured;
  }

  void finish_reading(const StepInfo& info, std::span<const WeightMoments> measured) {
    if (!now) {
      now = blank();
    }
    if (!gradients_read) {
      (void)watch.step(1.0, !measured.empty());  // an optimizer that runs backward by itself
    }
    gradients_read = false;
    const std::span<const ParameterReading> seen =
        measured.empty() ? watch.after_update() : watch.after_update(measured);
    now->step = info.step;
    now->parameters.assign(seen.begin(), seen.end());
    now->gradients_read = watch.was_read();
    take_trained();
    if (const std::span<const MagnitudeHistogram> counts = watch.histograms(); watch.was_read()) {
      now->histograms.assign(counts.begin(), counts.end());
    }
    if (watch.was_read() && !info.skipped) {
      now->noise_scale = is_ragged(info) ? noise.pass_over() : noise.add(now->parameters, info.samples);
    }
    read_average();
    now->loss_after = probe ? probe->finish(info) : kNotMeasured;
  }

  // The last batch of an epoch, where it is smaller than half of the usual one.
  [[nodiscard]] bool is_ragged(const StepInfo& info) const { return 2 * info.samples < most_samples; }

  // Puts the reading on record where that is due. What a ragged batch shows is noise of its own: the next full step
  // stands for it, read as closely.
  void record(const Event& event, const StepInfo& info, bool bad, std::shared_ptr<const StepReading> reading) {
    if (!emit || options.record_every == 0 || !(due(options.record_every, info.step) || owes_record || bad)) {
      return;
    }
    const bool waits = is_ragged(info) && !bad;
    owes_activations = waits && (owes_activations || due(options.activations_every, info.step));
    owes_batch = waits && (owes_batch || due(options.batches_every, info.step));
    owes_record = waits;
    if (waits) {
      watch.read_next();
    } else {
      emit({event.time, event.step, WatchedStep{facts, std::move(reading)}});
    }
  }

  Action end_step(const Event& event, const StepInfo& info, std::span<const WeightMoments> measured) {
    most_samples = std::max(most_samples, info.samples);
    finish_reading(info, measured);
    std::shared_ptr<const StepReading> reading = std::exchange(now, nullptr);
    history.add({info, reading});
    epoch_loss += std::isfinite(info.loss) ? info.loss : 0;
    epoch_steps += std::isfinite(info.loss) ? 1 : 0;
    const bool bad = info.skipped || has_nonfinite_loss(info);
    kept_from_breaking = info.skipped && options.activations_every > 0;
    break_is_read = false;
    record(event, info, bad, std::move(reading));
    return due(options.rules.every, info.step) || bad ? judge(event) : Action::proceed;
  }

  Action judge(const Event& event) {
    const std::vector<Issue> issues = book.check(history);
    for (const Issue& issue : issues) {
      diagnosis.add(issue);
    }
    const std::vector<Issue> news = book.news(issues);
    if (emit) {
      for (const Issue& issue : news) {
        emit({event.time, event.step, issue});
      }
    }
    skip_next = any_of(news, options.skip_on);
    return any_of(news, options.stop_on)        ? Action::stop
           : any_of(news, options.roll_back_on) ? Action::roll_back
                                                : Action::proceed;
  }

  void note_validation(const Event& event) {
    if (const auto* seen = std::get_if<Validated>(&event.payload)) {
      history.validations.push_back({event.step, seen->epoch,
                                     epoch_steps > 0 ? epoch_loss / static_cast<double>(epoch_steps) : kNotMeasured,
                                     seen->loss, seen->metrics});
      epoch_loss = 0;
      epoch_steps = 0;
    }
  }

  MonitorOptions options;
  Model model;
  NamedParameters parameters;
  Watch watch;
  std::int64_t trained_version = 0;  // of the watch, that the facts say
  RuleBook book;
  Emit emit;
  std::vector<std::shared_ptr<StepReading>> readings;  // used in turn
  std::size_t next_reading = 0;
  std::shared_ptr<StepReading> now;
  std::shared_ptr<const RunFacts> facts;
  std::function<NamedParameters()> averages;
  std::optional<LossProbe> probe;
  History history;
  Diagnosis diagnosis;
  NoiseScale noise;
  double epoch_loss = 0;
  std::int64_t epoch_steps = 0;
  std::int64_t most_samples = 0;  // of a step so far
  bool gradients_read = false;
  bool owes_record = false;  // a ragged step was due: the next full one goes on record, with what was due
  bool owes_activations = false;
  bool owes_batch = false;
  bool skip_next = false;
  bool kept_from_breaking = false;  // the step before was skipped: the weights are whole, the next one may show more
  bool break_is_read = false;       // the activations of the step under way are those of a loss that is no number
};

TrainingMonitor::TrainingMonitor(const Model& model, RunFacts facts, MonitorOptions options, Emit emit)
    : impl_(std::make_unique<Impl>(model, std::move(facts), std::move(options), std::move(emit))) {}

TrainingMonitor::~TrainingMonitor() = default;

Action TrainingMonitor::on(const Moment& moment) {
  Impl& self = *impl_;
  switch (moment.point) {
    case Point::train_start:
      self.watch.count_from(moment.step);
      return Action::proceed;
    case Point::batch_start:
      self.watch.expect_backwards(moment.micro_batches);
      if (self.probe && due(self.options.probe_every, moment.step + 1)) {
        self.probe->begin(*moment.batch);
      }
      return std::exchange(self.skip_next, false) ? Action::skip : Action::proceed;
    case Point::forward_end:
      self.read_forward(moment);
      return Action::proceed;
    case Point::backward_end:
      if (self.watch.arrived()) {
        self.read_gradients(moment);
      }
      return Action::proceed;
    case Point::step_end:
      return self.end_step(*moment.event, std::get<StepInfo>(moment.event->payload), moment.weights);
    case Point::rolled_back:
      if (moment.weights_put_back) {
        self.watch.rebase();
        self.history.restored_at = self.history.step();
      }
      return Action::proceed;
    case Point::validation_end:
      self.note_validation(*moment.event);
      return Action::proceed;
    default:
      return Action::proceed;
  }
}

void TrainingMonitor::watch_average(std::function<NamedParameters()> averages) {
  impl_->averages = std::move(averages);
}

void TrainingMonitor::probe_with(LossFunction loss_function) {
  impl_->probe.emplace(impl_->model, std::move(loss_function));
}

Watch& TrainingMonitor::watch() { return impl_->watch; }
const History& TrainingMonitor::history() const { return impl_->history; }
std::shared_ptr<const RunFacts> TrainingMonitor::facts() const { return impl_->facts; }
const Diagnosis& TrainingMonitor::diagnosis() const { return impl_->diagnosis; }
RuleBook& TrainingMonitor::rules() { return impl_->book; }

}  // namespace gradwise
