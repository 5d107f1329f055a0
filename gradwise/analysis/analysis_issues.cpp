#include "gradwise/analysis/analysis_issues.h"

#include <cmath>
#include <cstdio>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

constexpr int kSteadySteps = 30;     // more than any of these rules wants to see
constexpr int kSettledAfter = 1000;  // steps: rules that give a training time to settle need wait no more

ParameterReading reading_of(const ParameterGradient& p) {
  const double elements = p.norm / p.rms * (p.norm / p.rms);
  ParameterReading reading;
  reading.missing = p.missing;
  reading.grad_norm = p.missing ? kNotMeasured : p.norm;
  reading.grad_max = p.largest;
  reading.grad_mean = p.mean;
  reading.grad_variance = p.variance;
  reading.grad_zeros = p.sparsity;
  reading.grad_nans =
      p.nonfinite > 0 ? std::llround(std::fmax(1, p.nonfinite * (std::isfinite(elements) ? elements : 1))) : 0;
  return reading;
}

History steady_history(const GradientAnalysis& analysis) {
  History history;
  auto reading = std::make_shared<StepReading>();
  for (const ParameterGradient& p : analysis.parameters) {
    history.facts.parameters.push_back({p.name, p.shape});
    reading->parameters.push_back(reading_of(p));
  }
  reading->step = kSettledAfter;
  reading->activations = analysis.activations;
  reading->loss_path = analysis.loss_path;
  for (int i = 0; i < kSteadySteps; ++i) {
    StepInfo info;
    info.step = kSettledAfter + i;
    info.loss = analysis.loss;
    info.grad_norm = analysis.norm;
    history.add({info, reading});
  }
  return history;
}

std::string with_figures(const char* format, double value, double threshold) {
  char text[200];
  std::snprintf(text, sizeof text, format, value, threshold);
  return text;
}

Issue own_issue(const char* rule, std::int64_t step, double value, double threshold, std::string message,
                const char* advice) {
  Issue issue;
  issue.rule = rule;
  issue.severity = Severity::warning;
  issue.step = step;
  issue.value = value;
  issue.threshold = threshold;
  issue.message = std::move(message);
  issue.advice = advice;
  return issue;
}

}  // namespace

std::vector<Issue> issues_of(const GradientAnalysis& analysis, const GradientAnalysisConfig& config,
                             std::int64_t step) {
  const History history = steady_history(analysis);
  std::vector<Issue> found;
  for (const Rule& rule :
       {nonfinite_gradient(), nonfinite_loss(), missing_gradient(), frozen_layer(), vanishing_flow(), exploding_flow(),
        gradient_imbalance(), dead_units(), saturated_units(), nonfinite_activation(), double_softmax()}) {
    for (Issue& issue : rule.issues(history)) {
      issue.step = step;
      found.push_back(std::move(issue));
    }
  }
  if (analysis.norm > config.gradient_norm_threshold) {
    found.push_back(own_issue("large_gradient_norm", step, analysis.norm, config.gradient_norm_threshold,
                              with_figures("the gradient's norm is %.3g, gradient_norm_threshold is %.3g",
                                           analysis.norm, config.gradient_norm_threshold),
                              "clip gradients by norm, or lower the learning rate"));
  }
  if (analysis.angles.conflicting > 0.5) {
    found.push_back(
        own_issue("conflicting_gradients", step, analysis.angles.conflicting, 0.5,
                  with_figures("%.0f %% of the pairs of micro-batches have gradients more than pi/2 + %.3g apart",
                               100 * analysis.angles.conflicting, config.gradient_angle_threshold),
                  "raise the batch size; look for wrong labels"));
  }
  return found;
}

}  // namespace gradwise
