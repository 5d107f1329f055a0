#include "gradwise/report/text_report.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <system_error>
#include <utility>

#include "gradwise/core/atomic_file.h"
#include "gradwise/record/duration_text.h"
#include "gradwise/record/mebibyte.h"
#include "gradwise/record/run_folder.h"
#include "gradwise/report/text_table.h"

namespace gradwise {
namespace {

std::string counted(std::size_t count, const std::string& thing) {
  return std::to_string(count) + " " + thing + (count == 1 ? "" : "s");
}

std::string header(const RunReader& run, const RunSummary& summary) {
  std::string status = summary.status;
  if (const std::string reason = run.info("reason"); !reason.empty() && status != "running" && status != "killed") {
    status += " (" + reason + ")";
  }
  return "Run " + summary.name + "\n\n" +
         text_pairs({{"status", status},
                     {"model", run.info("model") + ", " + run.info("parameters") + " parameters"},
                     {"device", run.info("device") + ", " + run.info("threads") +
                                    (run.info("threads") == "1" ? " thread" : " threads")},
                     {"started", time_text(summary.started)},
                     {"duration", duration_text(summary.seconds) + " (hours:minutes:seconds)"},
                     {"optimizer steps", std::to_string(summary.step)},
                     {"best validation", summary.best.empty() ? "-" : summary.best}});
}

// Names of the figures that a kind of data was measured by, in their order.
std::vector<std::string> metrics_of(const std::vector<ValidationRow>& rows, const std::string& data) {
  std::vector<std::string> names;
  for (const ValidationRow& row : rows) {
    if (row.data == data && std::ranges::find(names, row.metric) == names.end()) {
      names.push_back(row.metric);
    }
  }
  return names;
}

const ValidationRow* find_row(const std::vector<ValidationRow>& rows, std::int64_t step, const std::string& data,
                              const std::string& metric) {
  for (const ValidationRow& row : rows) {
    if (row.step == step && row.data == data && row.metric == metric) {
      return &row;
    }
  }
  return nullptr;
}

// The step of the last validation that was the best until then; -1 where none was.
std::int64_t best_step(const std::vector<ValidationRow>& rows) {
  std::int64_t step = -1;
  for (const ValidationRow& row : rows) {
    if (row.best && row.data == "validation") {
      step = row.step;
    }
  }
  return step;
}

std::string epochs_table(const RunReader& run) {
  const std::vector<EpochRow> epochs = run.epochs();
  if (epochs.empty()) {
    return {};
  }
  const std::vector<ValidationRow> validations = run.validations();
  const std::vector<std::string> names = metrics_of(validations, "validation");
  const std::int64_t best = best_step(validations);
  std::vector<std::vector<std::string>> rows{{"epoch", "train loss", "grad norm", "samples/s", "seconds"}};
  for (const std::string& name : names) {
    rows.front().push_back("val " + name);
  }
  for (const EpochRow& row : epochs) {
    const EpochFinished& epoch = row.epoch;
    auto& cells = rows.emplace_back();
    cells = {std::to_string(epoch.epoch + 1), number_text(epoch.mean_loss), number_text(epoch.mean_grad_norm),
             number_text(std::round(epoch.samples_per_second), 9), number_text(epoch.seconds, 3)};
    for (const std::string& name : names) {
      const ValidationRow* found = find_row(validations, row.step, "validation", name);
      cells.push_back(found == nullptr ? "-" : number_text(found->value));
    }
    if (row.step == best) {
      cells.emplace_back("best");
    }
  }
  return "\nEpochs (means over the epoch)\n\n" + text_table(rows);
}

// What was measured on other data than the validation set, as on the test set.
std::string other_data_table(const RunReader& run) {
  const std::vector<ValidationRow> validations = run.validations();
  std::vector<std::vector<std::string>> rows{{"data", "step", "weights", "metric", "value"}};
  for (const ValidationRow& row : validations) {
    if (row.data != "validation") {
      rows.push_back({row.data, std::to_string(row.step), row.averaged ? "averaged" : "last", row.metric,
                      number_text(row.value, 5)});
    }
  }
  return rows.size() > 1 ? "\nOther data\n\n" + text_table(rows) : std::string();
}

std::string spread(std::vector<double> values, int digits = 4) {
  std::erase_if(values, [](double v) { return std::isnan(v); });
  if (values.empty()) {
    return "-";
  }
  std::ranges::sort(values);
  return number_text(values.front(), digits) + " / " + number_text(values[values.size() / 2], digits) + " / " +
         number_text(values.back(), digits);
}

struct StepSummary {
  std::vector<double> norms;
  std::vector<double> ratios;
  std::vector<double> milliseconds;
  std::vector<double> peaks;  // MiB
  std::int64_t clipped = 0;
  std::int64_t skipped = 0;
  std::int64_t samples = 0;
  StepTimes sum;
};

StepSummary summarize_steps(const std::vector<StepInfo>& steps) {
  StepSummary all;
  for (const StepInfo& step : steps) {
    all.norms.push_back(step.grad_norm);
    all.ratios.push_back(step.update_ratio);
    all.milliseconds.push_back(step.seconds.total * 1e3);
    all.peaks.push_back(step.peak_bytes / kMebibyte);
    all.clipped += step.clipped ? 1 : 0;
    all.skipped += step.skipped ? 1 : 0;
    all.samples += step.samples;
    all.sum.data += step.seconds.data;
    all.sum.forward += step.seconds.forward;
    all.sum.backward += step.seconds.backward;
    all.sum.clip += step.seconds.clip;
    all.sum.update += step.seconds.update;
    all.sum.total += step.seconds.total;
  }
  return all;
}

std::string percent(double part, double whole) { return whole > 0 ? number_text(100 * part / whole, 3) + " %" : "-"; }

std::string steps_section(const RunReader& run) {
  const std::vector<StepInfo> steps = run.steps();
  if (steps.empty()) {
    return {};
  }
  const StepSummary all = summarize_steps(steps);
  const StepTimes& sum = all.sum;
  const auto count = static_cast<double>(steps.size());
  const std::string speed =
      sum.total > 0 ? number_text(std::round(static_cast<double>(all.samples) / sum.total), 9) + " samples/s" : "-";
  return "\nSteps (smallest / median / largest)\n\n" +
         text_pairs(
             {{"gradient norm before clipping", spread(all.norms)},
              {"clipped steps", std::to_string(all.clipped) + ", " + percent(static_cast<double>(all.clipped), count)},
              {"skipped steps", std::to_string(all.skipped)},
              {"update-to-weight ratio", spread(all.ratios, 3)},
              {"step time (ms)", spread(all.milliseconds, 3)},
              {"peak memory of a step (MiB)", spread(all.peaks, 3)},
              {"speed over all steps", speed},
              {"share of data, forward, backward", percent(sum.data, sum.total) + ", " +
                                                       percent(sum.forward, sum.total) + ", " +
                                                       percent(sum.backward, sum.total)},
              {"share of clipping, update", percent(sum.clip, sum.total) + ", " + percent(sum.update, sum.total)}});
}

std::string issues_section(const RunReader& run) {
  struct Group {
    std::int64_t count = 0;
    std::set<std::string> layers;
    Issue first;
  };
  std::map<std::string, Group> groups;
  for (const Issue& issue : run.issues()) {
    Group& group = groups[issue.rule];
    if (group.count++ == 0) {
      group.first = issue;
    }
    if (!issue.layer.empty()) {
      group.layers.insert(issue.layer);
    }
  }
  if (groups.empty()) {
    return "\nIssues\n\n  none\n";
  }
  std::string text = "\nIssues\n\n";
  for (const auto& [rule, group] : groups) {
    const std::string where = group.layers.empty() ? "" : " in " + counted(group.layers.size(), "layer");
    text += wrapped(rule + ": " + counted(static_cast<std::size_t>(group.count), "time") + where + ", first at step " +
                        std::to_string(group.first.step) + ": " + group.first.message,
                    2);
    if (!group.first.advice.empty()) {
      text += wrapped("-> " + group.first.advice, 4);
    }
  }
  return text;
}

std::string diagnosis_section(const RunReader& run) {
  std::string text;
  for (const Finding& finding : run.findings()) {
    text +=
        wrapped(number_text(std::round(100 * finding.confidence), 3) + " %: " + finding.title +
                    (finding.layer.empty() ? "" : ": " + finding.layer) + ", from step " + std::to_string(finding.step),
                2);
    for (const Issue& issue : finding.evidence) {
      text += wrapped(issue.message + " (" + issue.rule + ", step " + std::to_string(issue.step) + ")", 4);
    }
    text += wrapped("-> " + finding.remedy, 4);
  }
  return text.empty() ? text : "\nDiagnosis (most likely cause first)\n\n" + text;
}

std::string checkpoints_section(const RunReader& run) {
  std::vector<std::vector<std::string>> rows{{"checkpoint", "step", "MiB", "training waited (ms)", "safe after (s)"}};
  for (const CheckpointRow& row : run.checkpoints()) {
    if (std::filesystem::exists(run.folder() / row.checkpoint.path)) {
      rows.push_back({row.checkpoint.path, std::to_string(row.step),
                      number_text(static_cast<double>(row.checkpoint.bytes) / kMebibyte, 3),
                      number_text(row.checkpoint.blocked_seconds * 1e3, 3), number_text(row.checkpoint.seconds, 3)});
    }
  }
  return rows.size() > 1 ? "\nCheckpoints\n\n" + text_table(rows) : std::string();
}

std::string messages_section(const RunReader& run) {
  std::string text;
  for (const Message& message : run.messages()) {
    if (message.level != Message::Level::info) {
      text += wrapped(message.text, 2);
    }
  }
  return text.empty() ? text : "\nWarnings and errors\n\n" + text;
}

// What a file of a run is for; "" for one that is not worth naming.
std::string purpose_of(const std::string& name) {
  static const std::map<std::string, std::string> purposes = {
      {"config.toml", "the resolved configuration"},
      {"run.sqlite", "every event, as tables"},
      {"events.jsonl", "every event, a JSON object a line"},
      {"model.safetensors", "the final weights"},
      {"report.txt", "this report"},
      {"report.html", "the report with every picture in it"},
      {"plots", "pictures"},
      {"gradient_analysis.json", "figures of `gradwise analyze`"},
      {"gradient_analysis.png", "pictures of `gradwise analyze`"},
      {"training.png", "loss, gradient norm and learning rate over the steps"},
      {"checkpoints", "weights and state to go on from"}};
  if (name.starts_with("events.out.tfevents.")) {
    return "figures for TensorBoard";
  }
  const auto found = purposes.find(name);
  return found == purposes.end() ? "" : found->second;
}

std::string files_section(const std::filesystem::path& folder) {
  std::vector<std::pair<std::string, std::string>> files;
  std::error_code problem;
  for (const auto& entry : std::filesystem::directory_iterator(folder, problem)) {
    const std::string name = entry.path().filename().string();
    const bool empty = entry.is_directory(problem) && std::filesystem::is_empty(entry, problem);
    if (const std::string purpose = purpose_of(name); !purpose.empty() && !empty) {
      files.emplace_back(name, purpose);
    }
  }
  std::ranges::sort(files);
  return "\nFiles in " + folder.string() + "\n\n" + text_pairs(files);
}

std::string next_section(const std::string& folder, const std::string& status) {
  std::vector<std::pair<std::string, std::string>> next;
  // A run that a program has recorded has no configuration to go on with.
  if (status != "running" && std::filesystem::exists(std::filesystem::path(folder) / "config.toml")) {
    const std::string resume = "gradwise train --resume " + folder;
    if (status == "finished") {
      next.emplace_back("go on, with more epochs", resume + " --set train.epochs=N");
    } else {
      next.emplace_back("go on", resume);
    }
  }
  next.emplace_back("see it in TensorBoard", "tensorboard --logdir " + folder);
  next.emplace_back("see its layers", "gradwise plot " + folder);
  next.emplace_back("compare with other runs", "gradwise compare " + folder + " OTHER");
  return "\nNext\n\n" + text_pairs(next);
}

}  // namespace

std::string text_report(const RunReader& run) {
  const RunSummary summary = summarize_run(run.folder());
  return header(run, summary) + epochs_table(run) + other_data_table(run) + diagnosis_section(run) +
         steps_section(run) + issues_section(run) + checkpoints_section(run) + messages_section(run) +
         files_section(run.folder()) + next_section(run.folder().string(), summary.status);
}

void write_report(const RunReader& run, const std::filesystem::path& path) {
  write_file_atomically(path, text_report(run));
}

}  // namespace gradwise
