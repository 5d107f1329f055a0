#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "gradwise/analysis/gradient_analysis.h"
#include "gradwise/core/model.h"

namespace gradwise {

/// One look at a training step.
struct MonitoringResult {
  std::int64_t step = 0;
  GradientAnalysis analysis;
  std::vector<Issue> issues;
};

/// All looks so far.
struct MonitoringSummary {
  std::int64_t steps_monitored = 0;
  std::int64_t first_step = 0;
  std::int64_t last_step = 0;
  GradientStatistics statistics;
  /// Rule, and how often it spoke, the most frequent first.
  std::vector<std::pair<std::string, std::int64_t>> issues_by_rule;
  std::vector<Issue> issues;  ///< the first of each rule and layer
};

/// Analyses a step's batch beside the training, at whatever steps it is called: forward and backward passes of its own,
/// and nothing changed by them. `TrainingMonitor` rides on the training step's own backward pass instead and costs no
/// extra pass; this one needs no loop, and sees what takes several gradients (angles, correlation, noise, curvature).
///
///   GradientMonitoring monitoring;
///   const MonitoringResult seen = monitoring.monitor_training_step(model, loss_function, input, target, step);
///   for (const Issue& issue : seen.issues) std::puts(issue.message.c_str());
///   monitoring.save_monitoring_report("monitoring.json");
class GradientMonitoring {
 public:
  explicit GradientMonitoring(GradientAnalysisConfig config = {});
  ~GradientMonitoring();

  /// Errors as `GradientAnalyzer::analyze_gradients`; then nothing is remembered of the step.
  MonitoringResult monitor_training_step(const Model& model, const LossFunction& loss_function,
                                         const at::Tensor& input_data, const at::Tensor& target_data,
                                         std::int64_t step);
  [[nodiscard]] MonitoringSummary get_monitoring_summary() const;
  /// The summary and every look, written atomically: JSON for a path that ends in .json, else text to read.
  void save_monitoring_report(const std::filesystem::path& path) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gradwise
