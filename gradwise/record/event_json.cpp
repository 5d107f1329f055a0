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
  json["resumed_at"] = started.resumed_at;
}

void put(Json& json, const RunFinished& finished) {
  json["kind"] = "run_finished";
  json["status"] = finished.status;
  json["reason"] = finished.reason;
}

}  // namespace

nlohmann::ordered_json event_to_json(const Event& event) {
  Json json;
  json["time"] = event.time;
  json["step"] = event.step;
  std::visit([&json](const auto& payload) { put(json, payload); }, event.payload);
  return json;
}

}  // namespace gradwise
