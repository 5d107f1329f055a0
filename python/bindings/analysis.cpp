#include "gradwise/analysis/analysis_json.h"
#include "gradwise/analysis/gradient_analyzer.h"
#include "gradwise/monitor/gradient_monitoring.h"
#include "python/bindings/docstrings.h"
#include "python/bindings/groups.h"
#include "python/bindings/held.h"
#include "python/bindings/keywords.h"
#include "python/bindings/models.h"
#include "python/bindings/records.h"

namespace gradwise::python {
namespace {

template <class Results>
py::object as_object(const Results& results) {
  nlohmann::json json;
  to_json(json, results);
  return object_of(json);
}

// The results stay with the analyzer's Python object, which hands them back to detect_gradient_issues.
struct Analysis {
  GradientAnalysis results;
};

Analysis analyze(GradientAnalyzer& self, const py::object& model, const py::object& loss_function,
                 const at::Tensor& input, const at::Tensor& target) {
  const Model adapted = adapt_module(model);
  const LossFunction loss = adapt_loss(loss_function);
  const py::gil_scoped_release release;
  return {self.analyze_gradients(adapted, loss, input, target)};
}

Analysis analyze_data(GradientAnalyzer& self, const py::object& model, const py::object& loss_function,
                      const py::object& dataloader) {
  const Model adapted = adapt_module(model);
  const LossFunction loss = adapt_loss(loss_function);
  const auto data = adapt_data(dataloader);
  const py::gil_scoped_release release;
  return {self.analyze_gradients(adapted, loss, *data)};
}

py::dict monitor_step(GradientMonitoring& self, const py::object& model, const py::object& loss_function,
                      const at::Tensor& input, const at::Tensor& target, std::int64_t step) {
  const Model adapted = adapt_module(model);
  const LossFunction loss = adapt_loss(loss_function);
  MonitoringResult seen;
  {
    const py::gil_scoped_release release;
    seen = self.monitor_training_step(adapted, loss, input, target, step);
  }
  py::dict dict;
  dict["step"] = seen.step;
  dict["analysis"] = as_object(seen.analysis);
  dict["issues"] = list_of(seen.issues);
  return dict;
}

py::dict summary_of(const GradientMonitoring& self) {
  const MonitoringSummary summary = self.get_monitoring_summary();
  py::dict by_rule;
  for (const auto& [rule, times] : summary.issues_by_rule) {
    by_rule[py::str(rule)] = times;
  }
  py::dict dict;
  dict["steps_monitored"] = summary.steps_monitored;
  dict["first_step"] = summary.first_step;
  dict["last_step"] = summary.last_step;
  dict["statistics"] = as_object(summary.statistics);
  dict["issues_by_rule"] = by_rule;
  dict["issues"] = list_of(summary.issues);
  return dict;
}

}  // namespace

void bind_analysis(py::module_& module) {
  py::class_<Analysis>(module, "Analysis").def("to_dict", [](const Analysis& self) { return as_object(self.results); });
  py::class_<GradientAnalyzer>(module, "GradientAnalyzer", doc::GradientAnalyzer)
      .def(py::init([](const py::dict& config) {
        return std::make_unique<GradientAnalyzer>(options_from<GradientAnalysisConfig>("analysis", config));
      }))
      .def("analyze_gradients", &analyze)
      .def("analyze_data", &analyze_data)
      .def("get_gradient_statistics",
           [](const GradientAnalyzer& self) { return as_object(self.get_gradient_statistics()); })
      .def("detect_gradient_issues",
           [](const GradientAnalyzer& self, const Analysis& analysis) {
             return list_of(self.detect_gradient_issues(analysis.results));
           })
      .def("plot_gradient_analysis", [](const GradientAnalyzer& self, const std::string& path) {
        const PlotStatus status = self.plot_gradient_analysis(path);
        return std::pair(status.drawn, status.reason);
      });
  py::class_<GradientMonitoring>(module, "GradientMonitoring", doc::GradientMonitoring)
      .def(py::init([](const py::dict& config) {
        return std::make_unique<GradientMonitoring>(options_from<GradientAnalysisConfig>("analysis", config));
      }))
      .def("monitor_training_step", &monitor_step)
      .def("get_monitoring_summary", &summary_of)
      .def("save_monitoring_report",
           [](const GradientMonitoring& self, const std::string& path) { self.save_monitoring_report(path); });
}

}  // namespace gradwise::python
