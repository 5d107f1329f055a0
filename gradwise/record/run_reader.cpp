#include "gradwise/record/run_reader.h"

#include <nlohmann/json.hpp>

#include "gradwise/core/error.h"
#include "gradwise/record/event_json.h"
#include "gradwise/record/reading_tables.h"
#include "gradwise/record/run_folder.h"
#include "gradwise/record/run_store.h"

namespace gradwise {

RunReader::RunReader(const std::filesystem::path& run)
    : folder_(run), database_(file_of_run(run, "run.sqlite"), Database::Mode::read_only) {
  Statement version = database_.prepare("PRAGMA user_version");
  version.row();
  version_ = version.integer(0);
  check_run_store_version(run / "run.sqlite", version_);
}

std::string RunReader::info(const std::string& key) const {
  Statement query = database_.prepare("SELECT value FROM run WHERE key = ?");
  query.bind(0, key);
  return query.row() ? query.text(0) : std::string();
}

std::vector<StepInfo> RunReader::steps(std::int64_t after) const {
  const std::string peak_bytes = version_ < 3 ? "NULL" : "peak_bytes";
  Statement query = database_.prepare(
      "SELECT step, epoch, samples, micro_batches, loss, grad_norm, grad_norm_clipped, clipped, skipped, lr, "
      "param_norm, "
      "update_norm, update_ratio, loss_scale, data_seconds, forward_seconds, backward_seconds, clip_seconds, "
      "update_seconds, total_seconds, skipped_in_all, " +
      peak_bytes + " FROM steps WHERE step > ? ORDER BY step");
  query.bind(0, after);
  std::vector<StepInfo> steps;
  while (query.row()) {
    StepInfo& s = steps.emplace_back();
    s.step = query.integer(0);
    s.epoch = query.integer(1);
    s.samples = query.integer(2);
    s.micro_batches = query.integer(3);
    s.loss = query.real(4);
    s.grad_norm = query.real(5);
    s.grad_norm_clipped = query.real(6);
    s.clipped = query.integer(7) != 0;
    s.skipped = query.integer(8) != 0;
    s.lr = query.real(9);
    s.param_norm = query.real(10);
    s.update_norm = query.real(11);
    s.update_ratio = query.real(12);
    s.loss_scale = query.real(13);
    s.seconds = {query.real(14), query.real(15), query.real(16), query.real(17), query.real(18), query.real(19)};
    s.skipped_in_all = query.integer(20);
    s.peak_bytes = query.real(21);
  }
  return steps;
}

std::int64_t RunReader::last_step() const {
  Statement query = database_.prepare("SELECT max(step) FROM steps");
  return query.row() ? query.integer(0) : 0;
}

double RunReader::first_time() const {
  Statement query = database_.prepare("SELECT min(time) FROM steps");
  return query.row() ? query.real(0) : kNotMeasured;
}

double RunReader::last_time() const {
  Statement query = database_.prepare("SELECT max(time) FROM steps");
  return query.row() ? query.real(0) : kNotMeasured;
}

std::vector<EpochRow> RunReader::epochs() const {
  Statement query = database_.prepare(
      "SELECT step, epoch, mean_loss, mean_grad_norm, samples_per_second, seconds FROM epochs ORDER BY epoch");
  std::vector<EpochRow> rows;
  while (query.row()) {
    rows.push_back({query.integer(0), {query.integer(1), query.real(2), query.real(3), query.real(4), query.real(5)}});
  }
  return rows;
}

std::vector<ValidationRow> RunReader::validations() const {
  Statement query = database_.prepare(
      "SELECT step, epoch, data, metric, value, averaged, best FROM validations ORDER BY step, data, rowid");
  std::vector<ValidationRow> rows;
  while (query.row()) {
    rows.push_back({query.integer(0), query.integer(1), query.text(2), query.text(3), query.real(4),
                    query.integer(5) != 0, query.integer(6) != 0});
  }
  return rows;
}

std::vector<CheckpointRow> RunReader::checkpoints() const {
  Statement query =
      database_.prepare("SELECT step, path, bytes, blocked_seconds, seconds FROM checkpoints ORDER BY time");
  std::vector<CheckpointRow> rows;
  while (query.row()) {
    rows.push_back(
        {query.integer(0), {query.text(1), query.integer(2), query.real(3), query.real(4), query.integer(0)}});
  }
  return rows;
}

std::vector<Issue> RunReader::issues() const {
  Statement query = database_.prepare(
      "SELECT step, severity, rule, layer, value, threshold, message, advice FROM issues ORDER BY step, rowid");
  std::vector<Issue> issues;
  while (query.row()) {
    Issue& issue = issues.emplace_back();
    issue.step = query.integer(0);
    issue.severity = severity_named(query.text(1));
    issue.rule = query.text(2);
    issue.layer = query.text(3);
    issue.value = query.real(4);
    issue.threshold = query.real(5);
    issue.message = query.text(6);
    issue.advice = query.text(7);
  }
  return issues;
}

std::vector<Message> RunReader::messages() const {
  Statement query = database_.prepare("SELECT level, text FROM messages ORDER BY time, rowid");
  std::vector<Message> messages;
  while (query.row()) {
    messages.push_back({severity_named(query.text(0)), query.text(1)});
  }
  return messages;
}

std::vector<Finding> RunReader::findings() const {
  Statement query = database_.prepare("SELECT json FROM findings ORDER BY rank");
  std::vector<Finding> findings;
  while (query.row()) {
    findings.push_back(finding_from_json(nlohmann::ordered_json::parse(query.text(0))));
  }
  return findings;
}

std::vector<ParameterFacts> RunReader::parameters() const { return read_parameters(database_); }

std::vector<std::shared_ptr<const StepReading>> RunReader::readings(std::int64_t after) const {
  return read_readings(database_, after);
}

}  // namespace gradwise
