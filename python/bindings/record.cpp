#include <cmath>
#include <memory>
#include <vector>

#include "gradwise/record/run_folder.h"
#include "gradwise/record/run_reader.h"
#include "python/bindings/docstrings.h"
#include "python/bindings/groups.h"
#include "python/bindings/held.h"
#include "python/bindings/records.h"

namespace gradwise::python {

using namespace py::literals;

namespace {

// Lets other threads run now and then while a long list is made.
class Breath {
 public:
  void take() {
    if (++taken_ % kEvery == 0) {
      const WithoutLock released;
    }
  }

 private:
  static constexpr std::int64_t kEvery = 256;
  std::int64_t taken_ = 0;
};

using StepReadings = std::vector<std::shared_ptr<const StepReading>>;

StepReadings readings_of(const RunReader& self, std::int64_t after) {
  return without_lock([&] { return self.readings(after); });
}

py::list steps(const RunReader& self, std::int64_t after) {
  py::list list;
  Breath breath;
  for (const StepInfo& info : without_lock([&] { return self.steps(after); })) {
    breath.take();
    list.append(dict_of(info));
  }
  return list;
}

py::list validations(const RunReader& self) {
  py::list list;
  for (const ValidationRow& row : self.validations()) {
    py::dict dict;
    dict["step"] = row.step;
    dict["epoch"] = row.epoch;
    dict["data"] = row.data;
    dict["metric"] = row.metric;
    dict["value"] = row.value;
    dict["averaged"] = row.averaged;
    dict["best"] = row.best;
    list.append(dict);
  }
  return list;
}

py::list epochs(const RunReader& self) {
  py::list list;
  for (const EpochRow& row : self.epochs()) {
    py::dict dict;
    dict["step"] = row.step;
    dict["epoch"] = row.epoch.epoch;
    dict["mean_loss"] = row.epoch.mean_loss;
    dict["mean_grad_norm"] = row.epoch.mean_grad_norm;
    dict["samples_per_second"] = row.epoch.samples_per_second;
    dict["seconds"] = row.epoch.seconds;
    list.append(dict);
  }
  return list;
}

// One row for each step that was read and parameter.
py::list readings(const RunReader& self, std::int64_t after) {
  const std::vector<ParameterFacts> parameters = self.parameters();
  py::list list;
  Breath breath;
  for (const std::shared_ptr<const StepReading>& reading : readings_of(self, after)) {
    for (std::size_t i = 0; i < reading->parameters.size() && i < parameters.size(); ++i) {
      breath.take();
      py::dict dict;
      dict["step"] = reading->step;
      dict["parameter"] = parameters[i].name;
      for (const auto& item : dict_of(reading->parameters[i])) {
        dict[item.first] = item.second;
      }
      list.append(dict);
    }
  }
  return list;
}

py::list parameters(const RunReader& self) {
  py::list list;
  for (const ParameterFacts& parameter : self.parameters()) {
    list.append(py::dict("name"_a = parameter.name, "shape"_a = parameter.shape,
                         "elements"_a = static_cast<std::int64_t>(parameter.elements()),
                         "trainable"_a = parameter.trainable));
  }
  return list;
}

py::list activations(const RunReader& self, std::int64_t after) {
  py::list list;
  Breath breath;
  for (const std::shared_ptr<const StepReading>& reading : readings_of(self, after)) {
    for (const ActivationReading& a : reading->activations) {
      breath.take();
      list.append(py::dict("step"_a = reading->step, "layer"_a = a.layer, "op"_a = a.op, "elements"_a = a.elements,
                           "zeros"_a = a.zeros, "dead"_a = a.dead, "saturated"_a = a.saturated,
                           "nonfinite"_a = a.nonfinite, "mean"_a = a.mean, "variance"_a = a.variance,
                           "grad_norm"_a = a.grad_norm));
    }
  }
  return list;
}

py::list histograms(const RunReader& self, std::int64_t after) {
  const std::vector<ParameterFacts> facts = self.parameters();
  py::list list;
  Breath breath;
  for (const std::shared_ptr<const StepReading>& reading : readings_of(self, after)) {
    for (std::size_t i = 0; i < reading->histograms.size() && i < facts.size(); ++i) {
      breath.take();
      list.append(py::dict("step"_a = reading->step, "parameter"_a = facts[i].name,
                           "counts"_a = py::cast(reading->histograms[i])));
    }
  }
  return list;
}

py::list noise_scales(const RunReader& self, std::int64_t after) {
  py::list list;
  for (const std::shared_ptr<const StepReading>& reading : readings_of(self, after)) {
    if (std::isfinite(reading->noise_scale)) {
      list.append(py::dict("step"_a = reading->step, "noise_scale"_a = reading->noise_scale));
    }
  }
  return list;
}

py::list findings(const RunReader& self) {
  py::list list;
  for (const Finding& finding : self.findings()) {
    list.append(dict_of(finding));
  }
  return list;
}

}  // namespace

void bind_record(py::module_& module) {
  py::class_<RunReader>(module, "RunReader", doc::RunReader)
      .def(py::init([](const std::string& path) { return std::make_unique<RunReader>(path); }))
      .def("info", &RunReader::info)
      .def("steps", &steps, py::arg("after") = 0)
      .def("last_step", &RunReader::last_step)
      .def("epochs", &epochs)
      .def("validations", &validations)
      .def("issues", [](const RunReader& self) { return list_of(self.issues()); })
      .def("findings", &findings)
      .def("readings", &readings, py::arg("after") = 0)
      .def("parameters", &parameters)
      .def("activations", &activations, py::arg("after") = 0)
      .def("histograms", &histograms, py::arg("after") = 0)
      .def("noise_scales", &noise_scales, py::arg("after") = 0);
  module.def(
      "run_status", [](const std::string& path) { return summarize_run(path).status; },
      py::call_guard<WithoutLock>());
}

}  // namespace gradwise::python
