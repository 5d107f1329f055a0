#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "gradwise/core/named_parameters.h"
#include "gradwise/monitor/training_monitor.h"
#include "gradwise/record/jsonl.h"
#include "gradwise/record/recorder.h"
#include "gradwise/record/run_folder.h"
#include "gradwise/record/run_store.h"
#include "gradwise/record/tensorboard.h"
#include "gradwise/rules/all_rules.h"
#include "python/bindings/docstrings.h"
#include "python/bindings/fused.h"
#include "python/bindings/groups.h"
#include "python/bindings/held.h"
#include "python/bindings/keywords.h"
#include "python/bindings/models.h"
#include "python/bindings/records.h"

namespace gradwise::python {
namespace {

// A run's folder with everything that writes to it.
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

// A TrainingMonitor that a loop in Python tells of its steps.
class Watching {
 public:
  Watching(const py::object& module, const py::dict& facts, const py::dict& options, const std::string& run)
      : model_(adapt_module(module)) {
    auto asked = options_from<MonitorOptions>("watch", options);
    RunFacts known;
    known.loss = facts["loss"].cast<std::string>();
    known.optimizer = facts["optimizer"].cast<std::string>();
    known.weight_decay = facts["weight_decay"].cast<double>();
    known.batch_size = facts["batch_size"].cast<std::int64_t>();
    if (!run.empty()) {
      recording_ = std::make_unique<Recording>(run);
      recording_->recorder->record(make_event(0, started(facts)));
    }
    // Until the loop tells its losses, an unknown one must not pass for one that is not finite.
    if (!std::count(asked.rules.ignore.begin(), asked.rules.ignore.end(), "nonfinite_loss")) {
      asked.rules.ignore.emplace_back("nonfinite_loss");
    } else {
      told_losses_ = true;
    }
    monitor_ = std::make_unique<TrainingMonitor>(model_, known, asked, [this](Event event) {
      if (const auto* issue = std::get_if<Issue>(&event.payload)) {
        news_.push_back(*issue);
      }
      record(std::move(event));
    });
  }

  // Activations, while the loss's graph stands.
  void forward_end(const at::Tensor& loss) {
    const py::gil_scoped_release release;
    const Batch none;
    const at::Tensor output;
    Moment moment{.point = Point::forward_end};
    moment.step = steps_;
    moment.batch = &none;
    moment.output = &output;
    moment.loss = &loss;
    (void)monitor_->on(moment);
  }

  // Gradients; `fused` measures the update that follows. Gives the global norm, NaN where it is not known.
  double backward_end(double scale, const Fused* fused) {
    const py::gil_scoped_release release;
    measured_ = false;
    place_fused(fused);
    double norm = kNotMeasured;
    Moment moment{.point = Point::backward_end};
    moment.step = steps_;
    moment.gradient_scale = scale;
    moment.measured_update = !fused_order_.empty();
    moment.gradient_norm = &norm;
    (void)monitor_->on(moment);
    return norm;
  }

  // What `fused` has measured of the update, before the loop may replace it.
  void update_end(const Fused* fused) {
    measured_ = !fused_order_.empty() && fused == placed_;
    if (measured_) {
      const std::span<const WeightMoments> found = fused->get().weight_moments();
      for (std::size_t i = 0; i < fused_order_.size(); ++i) {
        moments_[i] = found[fused_order_[i]];
      }
    }
  }

  // Says how many backward passes a step has: its gradients are read after the last of them, and at `backward_end`
  // where there are fewer.
  void expect_backwards(std::int64_t count) {
    const py::gil_scoped_release release;
    Moment moment{.point = Point::batch_start};
    moment.micro_batches = count;
    (void)monitor_->on(moment);
  }

  // Weights and update, and the rules. Gives the issues that are new.
  py::list step_end(std::optional<double> loss, const py::dict& figures) {
    news_.clear();
    StepInfo info = step_of(figures);
    if (loss && !std::exchange(told_losses_, true)) {
      monitor_->rules().add(rule_named("nonfinite_loss"));
    }
    {
      const py::gil_scoped_release release;
      info.step = ++steps_;
      info.loss = loss.value_or(kNotMeasured);
      skipped_ += info.skipped ? 1 : 0;
      info.skipped_in_all = skipped_;
      const Event event = make_event(steps_, std::move(info));
      Moment moment{.point = Point::step_end, .event = &event};
      moment.step = steps_;
      moment.weights = measured_ ? std::span<const WeightMoments>(moments_) : std::span<const WeightMoments>();
      (void)monitor_->on(moment);
      record(event);
    }
    return list_of(news_);
  }

  // The last ones, also after `close`.
  [[nodiscard]] py::dict readings() const {
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

  [[nodiscard]] py::list diagnosis() const {
    py::list list;
    for (const Finding& finding : monitor_->diagnosis().findings()) {
      list.append(dict_of(finding));
    }
    return list;
  }

  void close(const std::string& status, const std::string& reason) {
    last_readings_ = readings();
    const py::gil_scoped_release release;
    if (recording_) {
      record(make_event(steps_, Diagnosed{monitor_->diagnosis().findings()}));
      record(make_event(steps_, RunFinished{status, reason}));
      recording_->recorder->drain();
      recording_.reset();
    }
    monitor_.reset();
  }

  [[nodiscard]] bool closed() const { return monitor_ == nullptr; }
  [[nodiscard]] std::int64_t steps() const { return steps_; }

 private:
  [[nodiscard]] RunStarted started(const py::dict& facts) const {
    RunStarted event;
    event.name = facts["name"].cast<std::string>();
    event.model = facts["model"].cast<std::string>();
    event.device = model_.parameters.size() > 0 ? model_.parameters.tensors.front().device().str() : "cpu";
    event.parameters = model_.parameters.numel();
    event.threads = at::get_num_threads();
    return event;
  }

  // What a loop in Python knows of its step.
  [[nodiscard]] static StepInfo step_of(const py::dict& figures) {
    StepInfo info;
    info.grad_norm = info.grad_norm_clipped = figures["grad_norm"].cast<double>();
    info.lr = figures["lr"].cast<double>();
    info.skipped = figures["skipped"].cast<bool>();
    info.loss_scale = figures["loss_scale"].cast<double>();
    info.samples = figures["samples"].cast<std::int64_t>();
    info.micro_batches = figures["micro_batches"].cast<std::int64_t>();
    const auto seconds = figures["seconds"].cast<py::dict>();
    info.seconds.data = seconds["data"].cast<double>();
    info.seconds.forward = seconds["forward"].cast<double>();
    info.seconds.backward = seconds["backward"].cast<double>();
    info.seconds.update = seconds["update"].cast<double>();
    info.seconds.total = seconds["total"].cast<double>();
    return info;
  }

  void record(Event event) {
    if (recording_) {
      recording_->recorder->record(std::move(event));
    }
  }

  // Where each of the model's trainable parameters stands in the optimizer; empty unless it holds and measures all.
  void place_fused(const Fused* fused) {
    if (fused == placed_) {
      return;
    }
    placed_ = fused;
    fused_order_.clear();
    if (fused == nullptr || !fused->get().measures()) {
      return;
    }
    for (const at::Tensor& parameter : model_.parameters.trainable().tensors) {
      const std::optional<std::size_t> found = fused->get().place_of(parameter);
      if (!found) {
        fused_order_.clear();
        return;
      }
      fused_order_.push_back(*found);
    }
    moments_.resize(fused_order_.size());
  }

  Model model_;
  std::unique_ptr<Recording> recording_;
  std::unique_ptr<TrainingMonitor> monitor_;
  std::vector<Issue> news_;
  std::int64_t steps_ = 0;
  std::int64_t skipped_ = 0;
  bool told_losses_ = false;
  const Fused* placed_ = nullptr;
  std::vector<std::size_t> fused_order_;
  std::vector<WeightMoments> moments_;
  bool measured_ = false;
  py::dict last_readings_;
};

}  // namespace

void bind_monitor(py::module_& module) {
  py::class_<Watching>(module, "Watching", doc::TrainingMonitor)
      .def(py::init<const py::object&, const py::dict&, const py::dict&, const std::string&>())
      .def("forward_end", &Watching::forward_end)
      .def("backward_end", &Watching::backward_end, py::arg("scale"), py::arg("fused").none(true))
      .def("expect_backwards", &Watching::expect_backwards)
      .def("step_end", &Watching::step_end, py::arg("loss"), py::arg("figures"))
      .def("update_end", &Watching::update_end, py::arg("fused").none(true))
      .def("readings", &Watching::readings)
      .def("diagnosis", &Watching::diagnosis)
      .def("close", &Watching::close)
      .def_property_readonly("closed", &Watching::closed)
      .def_property_readonly("steps", &Watching::steps);
}

}  // namespace gradwise::python
