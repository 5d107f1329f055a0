#include "python/bindings/records.h"

namespace gradwise::python {

py::dict dict_of(const Issue& issue) {
  py::dict dict;
  dict["severity"] = name_of(issue.severity);
  dict["rule"] = issue.rule;
  dict["layer"] = issue.layer;
  dict["step"] = issue.step;
  dict["value"] = issue.value;
  dict["threshold"] = issue.threshold;
  dict["message"] = issue.message;
  dict["advice"] = issue.advice;
  return dict;
}

py::list list_of(const std::vector<Issue>& issues) {
  py::list list;
  for (const Issue& issue : issues) {
    list.append(dict_of(issue));
  }
  return list;
}

py::dict dict_of(const Finding& finding) {
  py::dict dict;
  dict["cause"] = finding.cause;
  dict["title"] = finding.title;
  dict["layer"] = finding.layer;
  dict["step"] = finding.step;
  dict["confidence"] = finding.confidence;
  dict["evidence"] = list_of(finding.evidence);
  dict["symptoms"] = list_of(finding.symptoms);
  dict["remedy"] = finding.remedy;
  return dict;
}

py::dict dict_of(const StepInfo& step) {
  py::dict seconds;
  seconds["data"] = step.seconds.data;
  seconds["forward"] = step.seconds.forward;
  seconds["backward"] = step.seconds.backward;
  seconds["clip"] = step.seconds.clip;
  seconds["update"] = step.seconds.update;
  seconds["total"] = step.seconds.total;
  py::dict dict;
  dict["step"] = step.step;
  dict["epoch"] = step.epoch;
  dict["samples"] = step.samples;
  dict["micro_batches"] = step.micro_batches;
  dict["loss"] = step.loss;
  dict["grad_norm"] = step.grad_norm;
  dict["grad_norm_clipped"] = step.grad_norm_clipped;
  dict["clipped"] = step.clipped;
  dict["skipped"] = step.skipped;
  dict["skipped_in_all"] = step.skipped_in_all;
  dict["lr"] = step.lr;
  dict["param_norm"] = step.param_norm;
  dict["update_norm"] = step.update_norm;
  dict["update_ratio"] = step.update_ratio;
  dict["loss_scale"] = step.loss_scale;
  dict["peak_bytes"] = step.peak_bytes;
  dict["seconds"] = seconds;
  dict["issues"] = list_of(step.issues);
  return dict;
}

py::dict dict_of(const EpochStats& epoch) {
  py::dict dict;
  dict["epoch"] = epoch.epoch;
  dict["losses"] = epoch.losses;
  dict["grad_norms"] = epoch.grad_norms;
  dict["learning_rates"] = epoch.learning_rates;
  dict["samples"] = epoch.samples;
  dict["clipped_steps"] = epoch.clipped_steps;
  dict["skipped_steps"] = epoch.skipped_steps;
  dict["peak_bytes"] = epoch.peak_bytes;
  dict["seconds"] = epoch.seconds;
  dict["samples_per_second"] = epoch.samples_per_second;
  dict["complete"] = epoch.complete;
  return dict;
}

py::dict dict_of(const ValidationStats& validation) {
  py::dict metrics;
  for (const auto& [name, value] : validation.metrics) {
    metrics[py::str(name)] = value;
  }
  py::dict dict;
  dict["validation_loss"] = validation.validation_loss;
  dict["metrics"] = metrics;
  dict["samples"] = validation.samples;
  dict["seconds"] = validation.seconds;
  return dict;
}

py::dict dict_of(const FitResult& result) {
  py::list history;
  for (const EpochStats& epoch : result.history) {
    history.append(dict_of(epoch));
  }
  py::dict dict;
  dict["status"] = result.status;
  dict["reason"] = result.reason;
  dict["steps"] = result.steps;
  dict["epochs"] = result.epochs;
  dict["history"] = history;
  dict["best"] = result.best;
  dict["best_step"] = result.best_step;
  return dict;
}

py::dict dict_of(const ParameterReading& r) {
  py::dict dict;
  dict["missing"] = r.missing;
  dict["grad_norm"] = r.grad_norm;
  dict["grad_mean_abs"] = r.grad_mean_abs;
  dict["grad_max"] = r.grad_max;
  dict["grad_min_value"] = r.grad_min_value;
  dict["grad_max_value"] = r.grad_max_value;
  dict["grad_mean"] = r.grad_mean;
  dict["grad_variance"] = r.grad_variance;
  dict["grad_zeros"] = r.grad_zeros;
  dict["grad_nans"] = r.grad_nans;
  dict["grad_infs"] = r.grad_infs;
  dict["grad_cosine"] = r.grad_cosine;
  dict["weight_norm"] = r.weight_norm;
  dict["weight_mean"] = r.weight_mean;
  dict["weight_variance"] = r.weight_variance;
  dict["weight_max"] = r.weight_max;
  dict["update_norm"] = r.update_norm;
  dict["update_ratio"] = r.update_ratio;
  return dict;
}

}  // namespace gradwise::python
