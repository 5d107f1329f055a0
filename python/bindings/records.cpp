#include "python/bindings/records.h"

namespace gradwise::python {

using namespace py::literals;

py::dict dict_of(const Issue& issue) {
  return py::dict("severity"_a = name_of(issue.severity), "rule"_a = issue.rule, "layer"_a = issue.layer,
                  "step"_a = issue.step, "value"_a = issue.value, "threshold"_a = issue.threshold,
                  "message"_a = issue.message, "advice"_a = issue.advice);
}

py::list list_of(const std::vector<Issue>& issues) {
  py::list list;
  for (const Issue& issue : issues) {
    list.append(dict_of(issue));
  }
  return list;
}

py::dict dict_of(const Finding& finding) {
  return py::dict("cause"_a = finding.cause, "title"_a = finding.title, "layer"_a = finding.layer,
                  "step"_a = finding.step, "confidence"_a = finding.confidence,
                  "evidence"_a = list_of(finding.evidence), "symptoms"_a = list_of(finding.symptoms),
                  "remedy"_a = finding.remedy);
}

py::dict dict_of(const StepInfo& step) {
  return py::dict(
      "step"_a = step.step, "epoch"_a = step.epoch, "samples"_a = step.samples, "micro_batches"_a = step.micro_batches,
      "loss"_a = step.loss, "grad_norm"_a = step.grad_norm, "grad_norm_clipped"_a = step.grad_norm_clipped,
      "clipped"_a = step.clipped, "skipped"_a = step.skipped, "skipped_in_all"_a = step.skipped_in_all,
      "lr"_a = step.lr, "param_norm"_a = step.param_norm, "update_norm"_a = step.update_norm,
      "update_ratio"_a = step.update_ratio, "loss_scale"_a = step.loss_scale, "peak_bytes"_a = step.peak_bytes,
      "seconds"_a = py::dict("data"_a = step.seconds.data, "forward"_a = step.seconds.forward,
                             "backward"_a = step.seconds.backward, "clip"_a = step.seconds.clip,
                             "update"_a = step.seconds.update, "total"_a = step.seconds.total),
      "issues"_a = list_of(step.issues));
}

py::dict dict_of(const EpochStats& epoch) {
  return py::dict("epoch"_a = epoch.epoch, "losses"_a = epoch.losses, "grad_norms"_a = epoch.grad_norms,
                  "learning_rates"_a = epoch.learning_rates, "samples"_a = epoch.samples,
                  "clipped_steps"_a = epoch.clipped_steps, "skipped_steps"_a = epoch.skipped_steps,
                  "peak_bytes"_a = epoch.peak_bytes, "seconds"_a = epoch.seconds,
                  "samples_per_second"_a = epoch.samples_per_second, "complete"_a = epoch.complete);
}

py::dict dict_of(const ValidationStats& validation) {
  py::dict metrics;
  for (const auto& [name, value] : validation.metrics) {
    metrics[py::str(name)] = value;
  }
  return py::dict("validation_loss"_a = validation.validation_loss, "metrics"_a = metrics,
                  "samples"_a = validation.samples, "seconds"_a = validation.seconds);
}

py::dict dict_of(const FitResult& result) {
  py::list history;
  for (const EpochStats& epoch : result.history) {
    history.append(dict_of(epoch));
  }
  return py::dict("status"_a = result.status, "reason"_a = result.reason, "limit"_a = result.limit, "steps"_a = result.steps,
                  "epochs"_a = result.epochs, "history"_a = history, "best"_a = result.best,
                  "best_step"_a = result.best_step);
}

py::dict dict_of(const ParameterReading& r) {
  return py::dict("missing"_a = r.missing, "grad_norm"_a = r.grad_norm, "grad_mean_abs"_a = r.grad_mean_abs,
                  "grad_max"_a = r.grad_max, "grad_min_value"_a = r.grad_min_value,
                  "grad_max_value"_a = r.grad_max_value, "grad_mean"_a = r.grad_mean,
                  "grad_variance"_a = r.grad_variance, "grad_zeros"_a = r.grad_zeros, "grad_nans"_a = r.grad_nans,
                  "grad_infs"_a = r.grad_infs, "grad_cosine"_a = r.grad_cosine, "weight_norm"_a = r.weight_norm,
                  "weight_mean"_a = r.weight_mean, "weight_variance"_a = r.weight_variance,
                  "weight_max"_a = r.weight_max, "update_norm"_a = r.update_norm, "update_ratio"_a = r.update_ratio);
}

py::dict dict_of(const Estimate& estimate) {
  const Interval range = interval(estimate);
  return py::dict("value"_a = estimate.value, "standard_error"_a = estimate.standard_error, "low"_a = range.low,
                  "high"_a = range.high, "samples"_a = estimate.samples, "products"_a = estimate.products,
                  "converged"_a = estimate.converged);
}

py::dict dict_of(const DiagonalEstimate& estimate) {
  return py::dict("diagonal"_a = estimate.values, "standard_errors"_a = estimate.standard_errors,
                  "samples"_a = estimate.samples, "products"_a = estimate.products, "converged"_a = estimate.converged);
}

py::dict dict_of(const Eigenpairs& pairs) {
  return py::dict("eigenvalues"_a = pairs.values, "eigenvectors"_a = pairs.vectors, "residuals"_a = pairs.residuals,
                  "errors"_a = pairs.errors, "products"_a = pairs.products, "restarts"_a = pairs.restarts,
                  "converged"_a = pairs.converged);
}

py::dict dict_of(const ConditionNumber& condition) {
  return py::dict("value"_a = condition.value, "low"_a = condition.low, "high"_a = condition.high,
                  "largest"_a = condition.largest, "smallest"_a = condition.smallest, "products"_a = condition.products,
                  "converged"_a = condition.converged);
}

py::dict dict_of(const Solution& solution) {
  return py::dict("x"_a = solution.x, "residual"_a = solution.residual, "normal"_a = solution.normal,
                  "iterations"_a = solution.iterations, "products"_a = solution.products,
                  "converged"_a = solution.converged);
}

}  // namespace gradwise::python
