#include <memory>
#include <optional>
#include <utility>

#include "gradwise/data/target_scaling.h"
#include "gradwise/optim/torch_optimizers.h"
#include "gradwise/train/gradient_computation.h"
#include "gradwise/train/loop.h"
#include "python/bindings/docstrings.h"
#include "python/bindings/groups.h"
#include "python/bindings/held.h"
#include "python/bindings/keywords.h"
#include "python/bindings/loop_records.h"
#include "python/bindings/models.h"
#include "python/bindings/python_optimizer.h"
#include "python/bindings/records.h"
#include "python/bindings/states.h"

#include <torch/optim/optimizer.h>

namespace gradwise::python {
namespace {

using Release = py::call_guard<WithoutLock>;

// `optimizer` is a dict of OptimizerOptions, or an optimizer of Python's.
std::unique_ptr<torch::optim::Optimizer> optimizer_from(const py::object& optimizer, const Model& model) {
  if (py::isinstance<py::dict>(optimizer)) {
    return make_optimizer(options_from<OptimizerOptions>("optimizer", optimizer.cast<py::dict>()), model.parameters);
  }
  return adapt_optimizer(optimizer);
}

// Whether to clip, and the largest norm; none: as the options say.
using Clip = std::optional<std::pair<bool, double>>;

std::optional<ClipRequest> clip_request(const Clip& clip) {
  return clip ? std::optional(ClipRequest{clip->first, clip->second}) : std::nullopt;
}

// An optimizer with what its model and callbacks need.
class Optimizer {
 public:
  Optimizer(const py::object& module, const py::object& optimizer, const py::dict& options) {
    Model model = adapt_module(module, Outputs::any);
    auto made = optimizer_from(optimizer, model);
    wrapped_ = std::make_unique<AutogradOptimizer>(std::move(model), std::move(made),
                                                   options_from<AutogradOptimizerOptions>("optimizer", options));
  }
  [[nodiscard]] AutogradOptimizer& get() { return *wrapped_; }

 private:
  std::unique_ptr<AutogradOptimizer> wrapped_;
};

py::dict step(Optimizer& self, const py::object& loss_function, const at::Tensor& input, const at::Tensor& target,
              const Clip& clip) {
  const LossFunction loss = adapt_loss(loss_function);
  StepInfo info;
  {
    const WithoutLock released;
    info = self.get().step(loss, input, target, clip_request(clip));
  }
  return dict_of(info);
}

void accumulate(Optimizer& self, const py::object& loss_function, const at::Tensor& input, const at::Tensor& target,
                std::int64_t window) {
  const LossFunction loss = adapt_loss(loss_function);
  const WithoutLock released;
  self.get().accumulate(loss, {.input = input, .target = target, .extra = {}}, window);
}

py::dict finish_step(Optimizer& self, const Clip& clip) {
  StepInfo info;
  {
    const WithoutLock released;
    info = self.get().finish_step(clip_request(clip));
  }
  return dict_of(info);
}

py::list rates(Optimizer& self) {
  py::list list;
  for (const Rate& rate : self.get().rates()) {
    list.append(rate.lr);
  }
  return list;
}

void set_rates(Optimizer& self, const std::vector<double>& lrs) {
  std::vector<Rate> now = self.get().rates();
  GRADWISE_CHECK(lrs.size() == now.size(), "optimizer", "there are ", lrs.size(), " rates for ", now.size(),
                 " parameter groups");
  for (std::size_t i = 0; i < now.size(); ++i) {
    now[i].lr = lrs[i];
  }
  self.get().set_rates(now);
}

// `training_targets`: by whose figures the targets of all data are scaled, or none.
class Loop {
 public:
  Loop(const py::object& module, const py::object& optimizer, const py::dict& options, const std::string& folder,
       const std::optional<at::Tensor>& training_targets, bool progress, const std::string& run)
      : model_name_(name_of_type(module)) {
    Model model = adapt_module(module, Outputs::any);
    auto made = optimizer_from(optimizer, model);
    LoopOptions given = options_from<LoopOptions>("train", options);
    given.checkpoint.folder = folder;
    if (training_targets) {
      scaling_ = target_scaling_of({.inputs = {}, .targets = training_targets->detach().cpu()});
      given.target_scaling = scaling_;
    }
    epochs_ = given.epochs;
    accumulate_ = given.accumulate;
    monitor_ = given.monitor;
    wrapped_ = std::make_unique<AutogradTrainingLoop>(std::move(model), std::move(made), std::move(given));
    records_ = std::make_unique<LoopRecords>(progress, run);
    records_->attach(*wrapped_, py::isinstance<py::dict>(optimizer) ? optimizer["name"].cast<std::string>()
                                                                    : name_of_type(optimizer));
  }
  [[nodiscard]] AutogradTrainingLoop& get() { return *wrapped_; }
  // Trains by `work`, on record. `all_epochs`: as many as the options say; else the caller alone knows how many.
  template <class Work>
  auto on_record(const BatchSource& data, bool all_epochs, const Work& work) {
    const std::int64_t batches = data.batches_per_epoch();
    records_->begin(model_name_, all_epochs ? epochs_ : 0, batches < 0 ? -1 : (batches + accumulate_ - 1) / accumulate_,
                    monitor_);
    try {
      return work();
    } catch (const std::exception& error) {
      const std::string reason = error.what();
      records_->end(is_interruption(error) ? "interrupted" : "failed", reason.substr(0, reason.find('\n')));
      throw;
    }
  }
  [[nodiscard]] LoopRecords& records() { return *records_; }
  [[nodiscard]] const TargetScaling& scaling() const { return scaling_; }
  [[nodiscard]] std::unique_ptr<BatchSource> data_of(const py::object& dataloader) const {
    std::unique_ptr<BatchSource> source = adapt_data(dataloader);
    return scaling_.empty() ? std::move(source) : std::make_unique<ScaledTargetSource>(std::move(source), scaling_);
  }

 private:
  // Raised by a callback, or by Python code that a conversion runs.
  static bool is_interruption(const std::exception& error) {
    const auto* raised = dynamic_cast<const py::error_already_set*>(&error);
    const WithLock lock;
    return raised != nullptr && interrupts(raised->type());
  }
  static std::string name_of_type(const py::handle& object) {
    return py::type::handle_of(object).attr("__name__").cast<std::string>();
  }

  std::string model_name_;
  std::unique_ptr<LoopRecords> records_;  // outlives the loop, which tells it of all that happens
  std::unique_ptr<AutogradTrainingLoop> wrapped_;
  TargetScaling scaling_;
  std::int64_t epochs_ = 0;
  std::int64_t accumulate_ = 1;
  std::string monitor_;
};

py::dict train_epoch(Loop& self, const py::object& dataloader, const py::object& loss_function, at::Device device,
                     const Clip& clip) {
  const auto data = self.data_of(dataloader);
  const LossFunction loss = adapt_loss(loss_function);
  EpochStats stats;
  {
    const WithoutLock released;
    stats =
        self.on_record(*data, false, [&] { return self.get().train_epoch(*data, loss, device, clip_request(clip)); });
  }
  return dict_of(stats);
}

py::dict validate(Loop& self, const py::object& dataloader, const py::object& loss_function, at::Device device) {
  const auto data = self.data_of(dataloader);
  const LossFunction loss = adapt_loss(loss_function);
  ValidationStats stats;
  {
    const WithoutLock released;
    stats = self.get().validate(*data, loss, device);
  }
  return dict_of(stats);
}

py::dict fit(Loop& self, const py::object& training, const py::object& validation, const py::object& loss_function,
             at::Device device) {
  const auto data = self.data_of(training);
  const auto held_out = validation.is_none() ? nullptr : self.data_of(validation);
  const LossFunction loss = adapt_loss(loss_function);
  FitResult result;
  {
    const WithoutLock released;
    result = self.on_record(*data, true, [&] { return self.get().fit(*data, held_out.get(), loss, device); });
    self.records().end(result.status, result.reason);
  }
  return dict_of(result);
}

const std::pair<const char*, Point> kPoints[] = {
    {"train_start", Point::train_start}, {"epoch_start", Point::epoch_start},
    {"batch_start", Point::batch_start}, {"backward_end", Point::backward_end},
    {"step_end", Point::step_end},       {"validation_end", Point::validation_end},
    {"epoch_end", Point::epoch_end},     {"checkpoint", Point::checkpoint},
    {"exception", Point::exception},     {"train_end", Point::train_end}};

Action action_named(const py::object& answer) {
  if (answer.is_none()) {
    return Action::proceed;
  }
  const char* const allowed = ", allowed: None, \"skip\", \"stop\", \"roll_back\"";
  if (!py::isinstance<py::str>(answer)) {
    throw py::type_error("a callback answered " + py::repr(answer).cast<std::string>() + allowed);
  }
  const auto word = answer.cast<std::string>();
  if (word == "skip") {
    return Action::skip;
  }
  if (word == "stop") {
    return Action::stop;
  }
  if (word == "roll_back") {
    return Action::roll_back;
  }
  throw py::value_error("a callback answered \"" + word + "\"" + allowed);
}

// `callback` gets a dict: point, step, epoch, and at step_end the step's figures.
void on(Loop& self, const std::string& point, const py::object& callback) {
  std::string names;
  for (const auto& [name, value] : kPoints) {
    if (point == name) {
      self.get().on(value, [held = hold(callback), point](const Moment& moment) {
        return with_python([&] {
          py::dict told;
          told["point"] = point;
          told["step"] = moment.step;
          told["epoch"] = moment.epoch;
          if (moment.event != nullptr) {
            if (const auto* info = std::get_if<StepInfo>(&moment.event->payload)) {
              told["step_stats"] = dict_of(*info);
            }
          }
          return action_named((*held)(told));
        });
      });
      return;
    }
    names += (names.empty() ? "" : ", ") + std::string(name);
  }
  throw py::value_error("there is no point \"" + point + "\", allowed: " + names);
}

NamedParameters numbered(const Tensors& parameters) {
  NamedParameters named;
  for (const at::Tensor& parameter : parameters) {
    named.add(std::to_string(named.size()), parameter);
  }
  return named;
}

void bind_gradient_computation(py::module_& module) {
  module.def("clip_gradients", [](const Tensors& parameters, const py::dict& keywords) {
    const auto options = options_from<ClipOptions>("clip", keywords);
    return without_lock([&] { return GradientComputationUtils::clip_gradients(numbered(parameters), options); });
  });
  module.def(
      "accumulate_gradients",
      [](const at::Tensor& loss, const Tensors& parameters, double weight) {
        GradientComputationUtils::accumulate_gradients(loss, numbered(parameters), weight);
      },
      Release());
}

}  // namespace

void bind_train(py::module_& module) {
  bind_gradient_computation(module);
  py::class_<Optimizer>(module, "AutogradOptimizer", doc::AutogradOptimizer)
      .def(py::init<const py::object&, const py::object&, const py::dict&>())
      .def("step", &step)
      .def("accumulate", &accumulate)
      .def("finish_step", &finish_step)
      .def("rates", &rates)
      .def("set_rates", &set_rates)
      .def("state", [](Optimizer& self) { return saved_state(self.get()); })
      .def("load_state", [](Optimizer& self, const std::string& values,
                            const py::dict& tensors) { load_saved_state(self.get(), values, tensors); })
      .def_property_readonly("steps", [](Optimizer& self) { return self.get().steps(); })
      .def_property_readonly("skipped_steps", [](Optimizer& self) { return self.get().skipped_steps(); })
      .def_property_readonly("parameters_without_gradient",
                             [](Optimizer& self) { return self.get().parameters_without_gradient(); });

  py::class_<Loop>(module, "AutogradTrainingLoop", doc::AutogradTrainingLoop)
      .def(py::init<const py::object&, const py::object&, const py::dict&, const std::string&,
                    const std::optional<at::Tensor>&, bool, const std::string&>())
      .def("train_epoch", &train_epoch)
      .def("validate", &validate)
      .def("fit", &fit)
      .def("on", &on)
      .def(
          "end_records",
          [](Loop& self, const std::string& status, const std::string& reason) { self.records().end(status, reason); },
          Release(), py::arg("status"), py::arg("reason"))
      .def("request_stop", [](Loop& self) { self.get().request_stop(); })
      .def("target_scaling",
           [](const Loop& self) {
             py::dict scaling;
             scaling["mean"] = self.scaling().mean;
             scaling["stddev"] = self.scaling().stddev;
             return scaling;
           })
      .def(
          "save_checkpoint", [](Loop& self) { return self.get().save_checkpoint().string(); }, Release())
      .def(
          "resume", [](Loop& self, const std::string& folder, at::Device device) { self.get().resume(folder, device); },
          Release())
      .def_property_readonly("steps", [](Loop& self) { return self.get().steps(); });
}

}  // namespace gradwise::python
