#include "gradwise/record/reading_tables.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <sstream>

namespace gradwise {
namespace {

constexpr const char* kReadingSchema = R"sql(
CREATE TABLE parameters(parameter INTEGER PRIMARY KEY, name TEXT, shape TEXT, trainable INTEGER);
CREATE TABLE readings(step INTEGER, parameter INTEGER, missing INTEGER, grad_norm REAL, grad_mean_abs REAL,
  grad_max REAL, grad_min_value REAL, grad_max_value REAL, grad_mean REAL, grad_variance REAL, grad_zeros REAL,
  grad_nans INTEGER, grad_infs INTEGER, grad_cosine REAL, weight_norm REAL, weight_mean REAL, weight_variance REAL,
  weight_max REAL, update_norm REAL, update_ratio REAL, PRIMARY KEY(step, parameter)) WITHOUT ROWID;
CREATE TABLE histograms(step INTEGER, parameter INTEGER, counts BLOB, PRIMARY KEY(step, parameter)) WITHOUT ROWID;
CREATE TABLE activations(step INTEGER, position INTEGER, layer TEXT, op TEXT, elements INTEGER, zeros REAL, dead REAL,
  saturated REAL, nonfinite REAL, mean REAL, variance REAL, grad_norm REAL, PRIMARY KEY(step, position)) WITHOUT ROWID;
CREATE TABLE batch_norms(step INTEGER, position INTEGER, layer TEXT, training INTEGER, mean_gap REAL,
  variance_ratio REAL, PRIMARY KEY(step, position)) WITHOUT ROWID;
CREATE TABLE step_readings(step INTEGER PRIMARY KEY, loss_after REAL, noise_scale REAL, ema_distance REAL);
)sql";

constexpr std::array kTables = {"readings", "histograms", "activations", "batch_norms", "step_readings"};

constexpr const char* kReadingColumns =
    "missing, grad_norm, grad_mean_abs, grad_max, grad_min_value, grad_max_value, grad_mean, grad_variance, "
    "grad_zeros, grad_nans, grad_infs, grad_cosine, weight_norm, weight_mean, weight_variance, weight_max, "
    "update_norm, update_ratio";

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (const std::int64_t length : shape) {
    text += (text.empty() ? "" : "x") + std::to_string(length);
  }
  return text;
}

std::vector<std::int64_t> shape_from(const std::string& text) {
  std::vector<std::int64_t> shape;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, 'x');) {
    shape.push_back(std::stoll(part));
  }
  return shape;
}

ParameterReading parameter_from(const Statement& row, int c) {
  ParameterReading p;
  p.missing = row.integer(c) != 0;
  p.grad_norm = row.real(c + 1);
  p.grad_mean_abs = row.real(c + 2);
  p.grad_max = row.real(c + 3);
  p.grad_min_value = row.real(c + 4);
  p.grad_max_value = row.real(c + 5);
  p.grad_mean = row.real(c + 6);
  p.grad_variance = row.real(c + 7);
  p.grad_zeros = row.real(c + 8);
  p.grad_nans = row.integer(c + 9);
  p.grad_infs = row.integer(c + 10);
  p.grad_cosine = row.real(c + 11);
  p.weight_norm = row.real(c + 12);
  p.weight_mean = row.real(c + 13);
  p.weight_variance = row.real(c + 14);
  p.weight_max = row.real(c + 15);
  p.update_norm = row.real(c + 16);
  p.update_ratio = row.real(c + 17);
  return p;
}

using ByStep = std::map<std::int64_t, StepReading>;

// Each query gives the step first; rows are ordered.
template <class Take>
void for_rows_after(const Database& database, const std::string& sql, std::int64_t after, ByStep& steps, Take take) {
  Statement query = database.prepare(sql);
  query.bind(0, after);
  while (query.row()) {
    StepReading& reading = steps[query.integer(0)];
    reading.step = query.integer(0);
    take(query, reading);
  }
}

}  // namespace

const char* reading_schema() { return kReadingSchema; }

std::string forget_readings_after(std::int64_t step) {
  std::string sql;
  for (const char* table : kTables) {
    sql += "DELETE FROM " + std::string(table) + " WHERE step > " + std::to_string(step) + ";";
  }
  return sql;
}

ReadingWriter::ReadingWriter(const Database& database)
    : parameter_(database.prepare("INSERT INTO parameters VALUES(?,?,?,?) ON CONFLICT(parameter) DO UPDATE SET "
                                  "name = excluded.name, shape = excluded.shape, "
                                  "trainable = max(trainable, excluded.trainable)")),
      reading_(database.prepare("INSERT OR REPLACE INTO readings VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)")),
      histogram_(database.prepare("INSERT OR REPLACE INTO histograms VALUES(?,?,?)")),
      activation_(database.prepare("INSERT OR REPLACE INTO activations VALUES(?,?,?,?,?,?,?,?,?,?,?,?)")),
      batch_norm_(database.prepare("INSERT OR REPLACE INTO batch_norms VALUES(?,?,?,?,?,?)")),
      step_(database.prepare("INSERT OR REPLACE INTO step_readings VALUES(?,?,?,?)")) {}

void ReadingWriter::store_parameters(const RunFacts& facts) {
  for (std::size_t i = 0; i < facts.parameters.size(); ++i) {
    const ParameterFacts& p = facts.parameters[i];
    parameter_.bind(0, static_cast<std::int64_t>(i)).bind(1, p.name).bind(2, shape_text(p.shape));
    parameter_.bind(3, std::int64_t{p.trainable}).run();
  }
}

void ReadingWriter::store_parameter(std::int64_t step, std::int64_t position, const ParameterReading& p) {
  reading_.bind(0, step).bind(1, position).bind(2, std::int64_t{p.missing}).bind(3, p.grad_norm);
  reading_.bind(4, p.grad_mean_abs).bind(5, p.grad_max).bind(6, p.grad_min_value).bind(7, p.grad_max_value);
  reading_.bind(8, p.grad_mean).bind(9, p.grad_variance).bind(10, p.grad_zeros).bind(11, p.grad_nans);
  reading_.bind(12, p.grad_infs).bind(13, p.grad_cosine).bind(14, p.weight_norm).bind(15, p.weight_mean);
  reading_.bind(16, p.weight_variance).bind(17, p.weight_max).bind(18, p.update_norm).bind(19, p.update_ratio).run();
}

void ReadingWriter::store_activation(std::int64_t step, std::int64_t position, const ActivationReading& a) {
  activation_.bind(0, step).bind(1, position).bind(2, a.layer).bind(3, a.op).bind(4, a.elements).bind(5, a.zeros);
  activation_.bind(6, a.dead).bind(7, a.saturated).bind(8, a.nonfinite).bind(9, a.mean).bind(10, a.variance);
  activation_.bind(11, a.grad_norm).run();
}

void ReadingWriter::store(const WatchedStep& seen) {
  if (seen.facts != stored_facts_) {
    store_parameters(*seen.facts);
    stored_facts_ = seen.facts;
  }
  const StepReading& reading = *seen.reading;
  step_.bind(0, reading.step).bind(1, reading.loss_after).bind(2, reading.noise_scale);
  step_.bind(3, reading.ema_distance).run();
  for (std::size_t i = 0; i < reading.parameters.size(); ++i) {
    store_parameter(reading.step, static_cast<std::int64_t>(i), reading.parameters[i]);
  }
  for (std::size_t i = 0; i < reading.histograms.size(); ++i) {
    histogram_.bind(0, reading.step).bind(1, static_cast<std::int64_t>(i));
    histogram_.bind_blob(2, std::as_bytes(std::span(reading.histograms[i]))).run();
  }
  for (std::size_t i = 0; i < reading.activations.size(); ++i) {
    store_activation(reading.step, static_cast<std::int64_t>(i), reading.activations[i]);
  }
  for (std::size_t i = 0; i < reading.batch_norms.size(); ++i) {
    const BatchNormReading& b = reading.batch_norms[i];
    batch_norm_.bind(0, reading.step).bind(1, static_cast<std::int64_t>(i)).bind(2, b.layer);
    batch_norm_.bind(3, std::int64_t{b.training}).bind(4, b.mean_gap).bind(5, b.variance_ratio).run();
  }
}

std::vector<ParameterFacts> read_parameters(const Database& database) {
  Statement query = database.prepare("SELECT name, shape, trainable FROM parameters ORDER BY parameter");
  std::vector<ParameterFacts> parameters;
  while (query.row()) {
    parameters.push_back({query.text(0), shape_from(query.text(1)), query.integer(2) != 0});
  }
  return parameters;
}

std::vector<std::shared_ptr<const StepReading>> read_readings(const Database& database, std::int64_t after) {
  ByStep steps;
  for_rows_after(database, "SELECT step, loss_after, noise_scale, ema_distance FROM step_readings WHERE step > ?",
                 after, steps, [](const Statement& row, StepReading& reading) {
                   reading.loss_after = row.real(1);
                   reading.noise_scale = row.real(2);
                   reading.ema_distance = row.real(3);
                 });
  for_rows_after(
      database,
      "SELECT step, " + std::string(kReadingColumns) + " FROM readings WHERE step > ? ORDER BY step, parameter", after,
      steps, [](const Statement& row, StepReading& reading) { reading.parameters.push_back(parameter_from(row, 1)); });
  for_rows_after(database, "SELECT step, counts FROM histograms WHERE step > ? ORDER BY step, parameter", after, steps,
                 [](const Statement& row, StepReading& reading) {
                   MagnitudeHistogram& counts = reading.histograms.emplace_back();
                   const std::span<const std::byte> bytes = row.blob(1);
                   std::memcpy(counts.data(), bytes.data(), std::min(bytes.size(), sizeof counts));
                 });
  for_rows_after(database,
                 "SELECT step, layer, op, elements, zeros, dead, saturated, nonfinite, mean, variance, grad_norm "
                 "FROM activations WHERE step > ? ORDER BY step, position",
                 after, steps, [](const Statement& row, StepReading& reading) {
                   reading.activations.push_back({row.text(1), row.text(2), row.integer(3), row.real(4), row.real(5),
                                                  row.real(6), row.real(7), row.real(8), row.real(9), row.real(10)});
                 });
  for_rows_after(database,
                 "SELECT step, layer, training, mean_gap, variance_ratio FROM batch_norms WHERE step > ? "
                 "ORDER BY step, position",
                 after, steps, [](const Statement& row, StepReading& reading) {
                   reading.batch_norms.push_back({row.text(1), row.integer(2) != 0, row.real(3), row.real(4)});
                 });
  std::vector<std::shared_ptr<const StepReading>> readings;
  for (auto& [step, reading] : steps) {
    readings.push_back(std::make_shared<const StepReading>(std::move(reading)));
  }
  return readings;
}

}  // namespace gradwise
