#include "gradwise/monitor/gradient_monitoring.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <utility>

#include "gradwise/analysis/analysis_json.h"
#include "gradwise/analysis/gradient_analyzer.h"
#include "gradwise/core/atomic_file.h"

namespace gradwise {
namespace {

std::string looks_as_text(const MonitoringSummary& summary, const std::vector<MonitoringResult>& looks) {
  std::ostringstream text;
  text << "Gradient monitoring: " << summary.steps_monitored << " steps, " << summary.first_step << " to "
       << summary.last_step << "\n\n  step        loss        norm   issues\n";
  char line[120];
  for (const MonitoringResult& look : looks) {
    std::snprintf(line, sizeof line, "%6lld  %10.4g  %10.4g   %zu\n", static_cast<long long>(look.step),
                  look.analysis.loss, look.analysis.norm, look.issues.size());
    text << line;
  }
  text << "\nIssues\n\n";
  if (summary.issues.empty()) {
    text << "  none\n";
  }
  for (const Issue& issue : summary.issues) {
    text << "  step " << issue.step << "  " << issue.rule << ": " << issue.message << "\n    -> " << issue.advice
         << '\n';
  }
  return text.str();
}

std::string looks_as_json(const MonitoringSummary& summary, const std::vector<MonitoringResult>& looks) {
  nlohmann::json json = {{"steps_monitored", summary.steps_monitored},
                         {"first_step", summary.first_step},
                         {"last_step", summary.last_step},
                         {"statistics", summary.statistics},
                         {"issues_by_rule", nlohmann::json::object()},
                         {"steps", nlohmann::json::array()}};
  for (const auto& [rule, count] : summary.issues_by_rule) {
    json["issues_by_rule"][rule] = count;
  }
  for (const MonitoringResult& look : looks) {
    nlohmann::json issues = nlohmann::json::array();
    for (const Issue& issue : look.issues) {
      issues.push_back(issue_json(issue));
    }
    json["steps"].push_back({{"step", look.step}, {"analysis", look.analysis}, {"issues", issues}});
  }
  return json.dump(2) + "\n";
}

}  // namespace

struct GradientMonitoring::Impl {
  explicit Impl(GradientAnalysisConfig config) : analyzer(std::move(config)) {}
  GradientAnalyzer analyzer;
  std::vector<MonitoringResult> looks;
};

GradientMonitoring::GradientMonitoring(GradientAnalysisConfig config)
    : impl_(std::make_unique<Impl>(std::move(config))) {}

GradientMonitoring::~GradientMonitoring() = default;

MonitoringResult GradientMonitoring::monitor_training_step(const Model& model, const LossFunction& loss_function,
                                                           const at::Tensor& input_data, const at::Tensor& target_data,
                                                           std::int64_t step) {
  MonitoringResult result;
  result.step = step;
  result.analysis = impl_->analyzer.analyze_gradients(model, loss_function, input_data, target_data);
  result.issues = impl_->analyzer.detect_gradient_issues(result.analysis);
  for (Issue& issue : result.issues) {
    issue.step = step;
  }
  impl_->looks.push_back(result);
  return result;
}

MonitoringSummary GradientMonitoring::get_monitoring_summary() const {
  MonitoringSummary summary;
  summary.steps_monitored = std::ssize(impl_->looks);
  summary.statistics = impl_->analyzer.get_gradient_statistics();
  if (impl_->looks.empty()) {
    return summary;
  }
  summary.first_step = impl_->looks.front().step;
  summary.last_step = impl_->looks.back().step;
  std::map<std::string, std::int64_t> counts;
  std::set<std::pair<std::string, std::string>> told;
  for (const MonitoringResult& look : impl_->looks) {
    for (const Issue& issue : look.issues) {
      ++counts[issue.rule];
      if (told.emplace(issue.rule, issue.layer).second) {
        summary.issues.push_back(issue);
      }
    }
  }
  summary.issues_by_rule.assign(counts.begin(), counts.end());
  std::stable_sort(summary.issues_by_rule.begin(), summary.issues_by_rule.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  return summary;
}

void GradientMonitoring::save_monitoring_report(const std::filesystem::path& path) const {
  const MonitoringSummary summary = get_monitoring_summary();
  write_file_atomically(
      path, path.extension() == ".json" ? looks_as_json(summary, impl_->looks) : looks_as_text(summary, impl_->looks));
}

}  // namespace gradwise
