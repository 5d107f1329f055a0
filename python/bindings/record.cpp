#include "gradwise/record/run_folder.h"
#include "gradwise/record/run_reader.h"
#include "python/bindings/docstrings.h"
#include "python/bindings/groups.h"
#include "python/bindings/records.h"

namespace gradwise::python {
namespace {

py::list steps(const RunReader& self, std::int64_t after) {
  py::list list;
  for (const StepInfo& info : self.steps(after)) {
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
  for (const std::shared_ptr<const StepReading>& reading : self.readings(after)) {
    for (std::size_t i = 0; i < reading->parameters.size() && i < parameters.size(); ++i) {
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
      .def("readings", &readings, py::arg("after") = 0);
  module.def("run_status", [](const std::string& path) { return summarize_run(path).status; });
}

}  // namespace gradwise::python
