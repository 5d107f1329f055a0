#include <memory>
#include <optional>
#include <utility>

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
                 const at::Tensor& input, const at::Tensor& target, const StepRule& rule) {
  const Model adapted = adapt_module(model, Outputs::any);
  const LossFunction loss = adapt_loss(loss_function);
  const WithoutLock released;
  return {self.analyze_gradients(adapted, loss, input, target, rule)};
}

Analysis analyze_data(GradientAnalyzer& self, const py::object& model, const py::object& loss_function,
                      const py::object& dataloader, const StepRule& rule) {
  const Model adapted = adapt_module(model, Outputs::any);
  const LossFunction loss = adapt_loss(loss_function);
  const auto data = adapt_data(dataloader);
  const WithoutLock released;
  return {self.analyze_gradients(adapted, loss, *data, rule)};
}

py::dict monitor_step(GradientMonitoring& self, const py::object& model, const py::object& loss_function,
                      const at::Tensor& input, const at::Tensor& target, std::int64_t step) {
  const Model adapted = adapt_module(model, Outputs::any);
  const LossFunction loss = adapt_loss(loss_function);
  MonitoringResult seen;
  {
    const WithoutLock released;
    seen = self.monitor_training_step(adapted, loss, input, target, step);
  }
  py::dict dict;
  dict["step"] = seen.step;
  dict["analysis"] = Analysis{std::move(seen.analysis)};
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

std::unique_ptr<GradientAnalyzer> analyzer_of(const py::dict& keywords, const py::object& progress) {
  auto config = options_from<GradientAnalysisConfig>("analysis", keywords);
  if (!progress.is_none()) {
    config.progress = [held = hold(progress)](const AnalysisProgress& now) {
      with_python([&] { (*held)(now.part, now.done, now.total); });
    };
  }
  return std::make_unique<GradientAnalyzer>(std::move(config));
}

StepRule rule_of_sgd(const std::vector<double>& rates, double momentum, double dampening, bool nesterov) {
  return with_rates(sgd_rule(0, {momentum, dampening, nesterov}), rates);
}

// `squares` and `steps` are those of each parameter; None and 0 where it has made no step.
StepRule rule_of_adam(const std::string& optimizer, const std::vector<double>& rates, double beta1, double beta2,
                      double eps, const std::vector<std::optional<at::Tensor>>& squares,
                      const std::vector<std::int64_t>& steps) {
  std::vector<AdamMoments> moments;
  for (std::size_t i = 0; i < squares.size(); ++i) {
    moments.push_back({squares[i].value_or(at::Tensor()), steps.at(i)});
  }
  return with_rates(adam_rule(optimizer, 0, {beta1, beta2, eps}, moments), rates);
}

void bind_step_rule(py::module_& module) {
  py::class_<StepRule>(module, "StepRule")
      .def(py::init<>())
      .def_static("sgd", &rule_of_sgd)
      .def_static("adam", &rule_of_adam)
      .def_static("unknown", &unknown_rule)
      .def_static("unknown_optimizer", &unknown_optimizer_rule)
      .def_static("ascent", &ascent_rule)
      .def_static("unsettled", &unsettled_rule);
}

}  // namespace

void bind_analysis(py::module_& module) {
  bind_step_rule(module);
  py::class_<Analysis>(module, "Analysis").def("to_dict", [](const Analysis& self) { return as_object(self.results); });
  module.def("analysis_options", [](const py::dict& keywords) {
    return keywords_of(options_from<GradientAnalysisConfig>("analysis", keywords));
  });
  py::class_<GradientAnalyzer>(module, "GradientAnalyzer", doc::GradientAnalyzer)
      .def(py::init(&analyzer_of))
      .def("analyze_gradients", &analyze)
      .def("analyze_data", &analyze_data)
      .def("get_gradient_statistics",
           [](const GradientAnalyzer& self) { return as_object(self.get_gradient_statistics()); })
      .def("detect_gradient_issues",
           [](const GradientAnalyzer& self, const Analysis& analysis) {
             return list_of(self.detect_gradient_issues(analysis.results));
           })
      .def("plot_gradient_analysis", [](const GradientAnalyzer& self, const std::string& path) {
        const PlotStatus status = without_lock([&] { return self.plot_gradient_analysis(path); });
        return std::pair(status.drawn, status.reason);
      });
  py::class_<GradientMonitoring>(module, "GradientMonitoring", doc::GradientMonitoring)
      .def(py::init([](const py::dict& config) {
        return std::make_unique<GradientMonitoring>(options_from<GradientAnalysisConfig>("analysis", config));
      }))
      .def("monitor_training_step", &monitor_step)
      .def("get_monitoring_summary", &summary_of)
      .def(
          "save_monitoring_report",
          [](const GradientMonitoring& self, const std::string& path) { self.save_monitoring_report(path); },
          py::call_guard<WithoutLock>());
}

}  // namespace gradwise::python
