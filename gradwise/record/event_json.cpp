#include "gradwise/record/event_json.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace gradwise {
namespace {

using Json = nlohmann::ordered_json;

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(); }

void put(Json& json, const Issue& issue) {
  json["kind"] = "issue";
  json["severity"] = name_of(issue.severity);
  json["rule"] = issue.rule;
  json["layer"] = issue.layer;
  json["value"] = number(issue.value);
  json["threshold"] = number(issue.threshold);
  json["message"] = issue.message;
  json["advice"] = issue.advice;
}

void put(Json& json, const StepInfo& info) {
  json["kind"] = "step";
  json["epoch"] = info.epoch;
  json["samples"] = info.samples;
  json["micro_batches"] = info.micro_batches;
  json["loss"] = number(info.loss);
  json["grad_norm"] = number(info.grad_norm);
  json["grad_norm_clipped"] = number(info.grad_norm_clipped);
  json["clipped"] = info.clipped;
  json["skipped"] = info.skipped;
  json["skipped_in_all"] = info.skipped_in_all;
  json["lr"] = number(info.lr);
  json["param_norm"] = number(info.param_norm);
  json["update_norm"] = number(info.update_norm);
  json["update_ratio"] = number(info.update_ratio);
  json["loss_scale"] = number(info.loss_scale);
  json["peak_bytes"] = number(info.peak_bytes);
  json["seconds"] = {{"data", info.seconds.data},         {"forward", info.seconds.forward},
                     {"backward", info.seconds.backward}, {"clip", info.seconds.clip},
                     {"update", info.seconds.update},     {"total", info.seconds.total}};
  for (const Issue& issue : info.issues) {
    Json& entry = json["issues"].emplace_back();
    put(entry, issue);
    entry.erase("kind");
  }
}

void put(Json& json, const EpochFinished& done) {
  json["kind"] = "epoch";
  json["epoch"] = done.epoch;
  json["mean_loss"] = number(done.mean_loss);
  json["mean_grad_norm"] = number(done.mean_grad_norm);
  json["samples_per_second"] = number(done.samples_per_second);
  json["seconds"] = done.seconds;
}

void put(Json& json, const Validated& seen) {
  json["kind"] = "validation";
  json["epoch"] = seen.epoch;
  json["data"] = seen.data;
  json["loss"] = number(seen.loss);
  for (const auto& [name, value] : seen.metrics) {
    json["metrics"][name] = number(value);
  }
  json["seconds"] = seen.seconds;
  json["averaged"] = seen.averaged;
  json["best"] = seen.best;
}

void put(Json& json, const CheckpointSaved& saved) {
  json["kind"] = "checkpoint";
  json["path"] = saved.path;
  json["bytes"] = saved.bytes;
  json["blocked_seconds"] = saved.blocked_seconds;
  json["seconds"] = saved.seconds;
}

void put(Json& json, const Message& message) {
  json["kind"] = "message";
  json["level"] = name_of(message.level);
  json["text"] = message.text;
}

void put(Json& json, const RunStarted& started) {
  json["kind"] = "run_started";
  json["name"] = started.name;
  json["model"] = started.model;
  json["device"] = started.device;
  json["parameters"] = started.parameters;
  json["threads"] = started.threads;
  json["epochs"] = started.epochs;
  json["steps_per_epoch"] = started.steps_per_epoch;
  if (!started.monitor.empty()) {
    json["monitor"] = started.monitor;
  }
  json["resumed_at"] = started.resumed_at;
}

Json reading_json(const ParameterReading& p) {
  return {{"missing", p.missing},
          {"grad_norm", number(p.grad_norm)},
          {"grad_mean_abs", number(p.grad_mean_abs)},
          {"grad_max", number(p.grad_max)},
          {"grad_mean", number(p.grad_mean)},
          {"grad_variance", number(p.grad_variance)},
          {"grad_zeros", number(p.grad_zeros)},
          {"grad_nans", p.grad_nans},
          {"grad_infs", p.grad_infs},
          {"grad_cosine", number(p.grad_cosine)},
          {"weight_norm", number(p.weight_norm)},
          {"update_norm", number(p.update_norm)},
          {"update_ratio", number(p.update_ratio)}};
}

Json reading_json(const ActivationReading& a) {
  return {{"layer", a.layer},
          {"op", a.op},
          {"zeros", number(a.zeros)},
          {"dead", number(a.dead)},
          {"saturated", number(a.saturated)},
          {"nonfinite", number(a.nonfinite)},
          {"mean", number(a.mean)},
          {"variance", number(a.variance)},
          {"grad_norm", number(a.grad_norm)}};
}

// Histograms are in the run store alone: they would be most of the file.
void put(Json& json, const WatchedStep& seen) {
  json["kind"] = "readings";
  const StepReading& reading = *seen.reading;
  for (std::size_t i = 0; i < reading.parameters.size(); ++i) {
    json["parameters"][seen.facts->parameters[i].name] = reading_json(reading.parameters[i]);
  }
  for (const ActivationReading& activation : reading.activations) {
    json["activations"].push_back(reading_json(activation));
  }
  json["loss_after"] = number(reading.loss_after);
  json["noise_scale"] = number(reading.noise_scale);
  json["ema_distance"] = number(reading.ema_distance);
}

Json issue_json(const Issue& issue) {
  Json entry;
  put(entry, issue);
  entry.erase("kind");
  entry["step"] = issue.step;
  return entry;
}

double number_from(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found == json.end() || !found->is_number() ? kNotMeasured : found->get<double>();
}

Issue issue_from(const Json& json) {
  return {.severity = severity_named(json.value("severity", "")),
          .rule = json.value("rule", ""),
          .layer = json.value("layer", ""),
          .step = json.value("step", std::int64_t{0}),
          .value = number_from(json, "value"),
          .threshold = number_from(json, "threshold"),
          .message = json.value("message", ""),
          .advice = json.value("advice", "")};
}

void put(Json& json, const Diagnosed& diagnosed) {
  json["kind"] = "diagnosis";
  json["findings"] = Json::array();
  for (const Finding& finding : diagnosed.findings) {
    json["findings"].push_back(finding_to_json(finding));
  }
}

void put(Json& json, const RunFinished& finished) {
  json["kind"] = "run_finished";
  json["status"] = finished.status;
  json["reason"] = finished.reason;
}

}  // namespace

nlohmann::ordered_json finding_to_json(const Finding& finding) {
  Json json = {{"cause", finding.cause}, {"title", finding.title},           {"layer", finding.layer},
               {"step", finding.step},   {"confidence", finding.confidence}, {"remedy", finding.remedy}};
  for (const auto& [key, issues] :
       {std::pair{"evidence", &finding.evidence}, std::pair{"symptoms", &finding.symptoms}}) {
    json[key] = Json::array();
    for (const Issue& issue : *issues) {
      json[key].push_back(issue_json(issue));
    }
  }
  return json;
}

Finding finding_from_json(const nlohmann::ordered_json& json) {
  const auto issues = [&json](const char* key) {
    std::vector<Issue> found;
    for (const Json& entry : json.value(key, Json::array())) {
      found.push_back(issue_from(entry));
    }
    return found;
  };
  return {.cause = json.value("cause", ""),
          .title = json.value("title", ""),
          .layer = json.value("layer", ""),
          .step = json.value("step", std::int64_t{0}),
          .confidence = json.value("confidence", 0.0),
          .evidence = issues("evidence"),
          .symptoms = issues("symptoms"),
          .remedy = json.value("remedy", "")};
}

nlohmann::ordered_json event_to_json(const Event& event) {
  Json json;
  json["time"] = event.time;
  json["step"] = event.step;
  std::visit([&json](const auto& payload) { put(json, payload); }, event.payload);
  return json;
}

}  // namespace gradwise
