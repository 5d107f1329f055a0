#include "gradwise/record/run_store.h"

#include <nlohmann/json.hpp>

#include "gradwise/core/error.h"
#include "gradwise/record/event_json.h"
#include "gradwise/record/reading_tables.h"

namespace gradwise {
namespace {

constexpr const char* kSchema = R"sql(
CREATE TABLE run(key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE steps(step INTEGER PRIMARY KEY, time REAL, epoch INTEGER, samples INTEGER, micro_batches INTEGER,
  loss REAL, grad_norm REAL, grad_norm_clipped REAL, clipped INTEGER, skipped INTEGER, lr REAL, param_norm REAL,
  update_norm REAL, update_ratio REAL, loss_scale REAL, data_seconds REAL, forward_seconds REAL, backward_seconds REAL,
  clip_seconds REAL, update_seconds REAL, total_seconds REAL, skipped_in_all INTEGER, peak_bytes REAL);
CREATE TABLE epochs(epoch INTEGER PRIMARY KEY, step INTEGER, time REAL, mean_loss REAL, mean_grad_norm REAL,
  samples_per_second REAL, seconds REAL);
CREATE TABLE validations(step INTEGER, epoch INTEGER, time REAL, data TEXT, metric TEXT, value REAL, averaged INTEGER,
  best INTEGER, seconds REAL, PRIMARY KEY(step, data, metric));
CREATE TABLE checkpoints(path TEXT PRIMARY KEY, step INTEGER, time REAL, bytes INTEGER, blocked_seconds REAL,
  seconds REAL);
CREATE TABLE issues(step INTEGER, time REAL, severity TEXT, rule TEXT, layer TEXT, value REAL, threshold REAL,
  message TEXT, advice TEXT);
CREATE TABLE findings(rank INTEGER PRIMARY KEY, step INTEGER, cause TEXT, confidence REAL, layer TEXT, json TEXT);
CREATE TABLE messages(step INTEGER, time REAL, level TEXT, text TEXT);
)sql";

// Adds what lies between the last moment on record and ?1, when a process takes the run up again, to the pauses.
constexpr const char* kAddPause = R"sql(
INSERT OR REPLACE INTO run
SELECT 'paused', coalesce((SELECT CAST(value AS REAL) FROM run WHERE key = 'paused'), 0)
  + max(0, ?1 - coalesce(max(moment), ?1))
FROM (SELECT max(time) AS moment FROM steps UNION ALL
      SELECT max(CAST(value AS REAL)) FROM run WHERE key IN ('started', 'resumed', 'ended'))
)sql";

std::int64_t single_integer(const Database& database, const std::string& sql) {
  Statement query = database.prepare(sql);
  query.row();
  return query.integer(0);
}

void bring_up_to_date(Database& database) {
  database.execute("BEGIN IMMEDIATE;ALTER TABLE steps ADD COLUMN peak_bytes REAL;PRAGMA user_version=" +
                   std::to_string(kRunStoreVersion) + ";COMMIT;");
}

}  // namespace

void check_run_store_version(const std::filesystem::path& path, std::int64_t found) {
  if (found < kOldestRunStoreVersion || found > kRunStoreVersion) {
    fail("run store", path.string(), " was written by version ", found, ", this one reads ", kOldestRunStoreVersion,
         " to ", kRunStoreVersion);
  }
}

struct RunStoreSink::Statements {
  explicit Statements(const Database& database)
      : run(database.prepare("INSERT OR REPLACE INTO run VALUES(?,?)")),
        run_once(database.prepare("INSERT OR IGNORE INTO run VALUES(?,?)")),
        step(database.prepare("INSERT OR REPLACE INTO steps VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)")),
        epoch(database.prepare("INSERT OR REPLACE INTO epochs VALUES(?,?,?,?,?,?,?)")),
        validation(database.prepare("INSERT OR REPLACE INTO validations VALUES(?,?,?,?,?,?,?,?,?)")),
        checkpoint(database.prepare("INSERT OR REPLACE INTO checkpoints VALUES(?,?,?,?,?,?)")),
        issue(database.prepare("INSERT INTO issues VALUES(?,?,?,?,?,?,?,?,?)")),
        message(database.prepare("INSERT INTO messages VALUES(?,?,?,?)")),
        forget_findings(database.prepare("DELETE FROM findings")),
        finding(database.prepare("INSERT INTO findings VALUES(?,?,?,?,?,?)")),
        pause(database.prepare(kAddPause)),
        readings(database) {}

  void set(const char* key, const std::string& value) { run.bind(0, std::string(key)).bind(1, value).run(); }
  void set_once(const char* key, const std::string& value) { run_once.bind(0, std::string(key)).bind(1, value).run(); }

  void store(const Event& event, const StepInfo& info) {
    step.bind(0, info.step).bind(1, event.time).bind(2, info.epoch).bind(3, info.samples).bind(4, info.micro_batches);
    step.bind(5, info.loss).bind(6, info.grad_norm).bind(7, info.grad_norm_clipped);
    step.bind(8, std::int64_t{info.clipped}).bind(9, std::int64_t{info.skipped}).bind(10, info.lr);
    step.bind(11, info.param_norm).bind(12, info.update_norm).bind(13, info.update_ratio).bind(14, info.loss_scale);
    step.bind(15, info.seconds.data).bind(16, info.seconds.forward).bind(17, info.seconds.backward);
    step.bind(18, info.seconds.clip).bind(19, info.seconds.update).bind(20, info.seconds.total);
    step.bind(21, info.skipped_in_all).bind(22, info.peak_bytes).run();
    for (const Issue& found : info.issues) {
      store(event, found);
    }
  }

  void store(const Event& event, const EpochFinished& done) {
    epoch.bind(0, done.epoch).bind(1, event.step).bind(2, event.time).bind(3, done.mean_loss);
    epoch.bind(4, done.mean_grad_norm).bind(5, done.samples_per_second).bind(6, done.seconds).run();
  }

  void store_figure(const Event& event, const Validated& seen, const std::string& name, double value) {
    validation.bind(0, event.step).bind(1, seen.epoch).bind(2, event.time).bind(3, seen.data).bind(4, name);
    validation.bind(5, value).bind(6, std::int64_t{seen.averaged}).bind(7, std::int64_t{seen.best});
    validation.bind(8, seen.seconds).run();
  }

  void store(const Event& event, const Validated& seen) {
    store_figure(event, seen, "loss", seen.loss);
    for (const auto& [name, value] : seen.metrics) {
      store_figure(event, seen, name, value);
    }
  }

  void store(const Event& event, const CheckpointSaved& saved) {
    checkpoint.bind(0, saved.path).bind(1, saved.step).bind(2, event.time).bind(3, saved.bytes);
    checkpoint.bind(4, saved.blocked_seconds).bind(5, saved.seconds).run();
  }

  void store(const Event& event, const Issue& found) {
    issue.bind(0, found.step).bind(1, event.time).bind(2, std::string(name_of(found.severity))).bind(3, found.rule);
    issue.bind(4, found.layer).bind(5, found.value).bind(6, found.threshold).bind(7, found.message);
    issue.bind(8, found.advice).run();
  }

  void store(const Event& event, const Message& told) {
    message.bind(0, event.step).bind(1, event.time).bind(2, std::string(name_of(told.level))).bind(3, told.text).run();
  }

  void store(const Event& event, const RunStarted& run_started) {
    set("name", run_started.name);
    set("model", run_started.model);
    set("device", run_started.device);
    set("parameters", std::to_string(run_started.parameters));
    set("threads", std::to_string(run_started.threads));
    set("epochs", std::to_string(run_started.epochs));
    set("steps_per_epoch", std::to_string(run_started.steps_per_epoch));
    if (!run_started.monitor.empty()) {
      set("monitor", run_started.monitor);
    }
    set("status", "running");
    if (run_started.resumed_at >= 0) {
      pause.bind(0, event.time).run();
      set("resumed", std::to_string(event.time));
    }
    set_once("started", std::to_string(event.time));  // a kill may have come before the first record
  }

  void store(const Event& event, const RunFinished& finished) {
    set("status", finished.status);
    set("reason", finished.reason);
    set("ended", std::to_string(event.time));
  }

  void store(const Event& /*event*/, const Diagnosed& diagnosed) {
    forget_findings.run();
    for (std::size_t i = 0; i < diagnosed.findings.size(); ++i) {
      const Finding& found = diagnosed.findings[i];
      finding.bind(0, static_cast<std::int64_t>(i + 1)).bind(1, found.step).bind(2, found.cause);
      finding.bind(3, found.confidence).bind(4, found.layer).bind(5, finding_to_json(found).dump()).run();
    }
  }

  void store(const Event& /*event*/, const WatchedStep& seen) { readings.store(seen); }

  Statement run, run_once, step, epoch, validation, checkpoint, issue, message, forget_findings, finding, pause;
  ReadingWriter readings;
};

RunStoreSink::RunStoreSink(const std::filesystem::path& path) : database_(path, Database::Mode::read_write) {
  const std::int64_t found = single_integer(database_, "PRAGMA user_version");
  if (found != 0) {
    check_run_store_version(path, found);
  }
  if (found == 0 && single_integer(database_, "SELECT count(*) FROM sqlite_master") != 0) {
    fail("run store", path.string(), " is a database of something else");
  }
  database_.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;");
  if (found == 0) {
    database_.execute("BEGIN IMMEDIATE;" + std::string(kSchema) + reading_schema() +
                      "PRAGMA user_version=" + std::to_string(kRunStoreVersion) + ";COMMIT;");
  } else if (found < kRunStoreVersion) {
    bring_up_to_date(database_);
  }
  statements_ = std::make_unique<Statements>(database_);
}

RunStoreSink::~RunStoreSink() = default;

void RunStoreSink::write(std::span<const Event> events) {
  database_.execute("BEGIN IMMEDIATE");
  try {
    for (const Event& event : events) {
      store(event);
    }
    database_.execute("COMMIT");
  } catch (...) {
    try {
      database_.execute("ROLLBACK");
    } catch (const Error&) {
      // SQLite has rolled back already; the first error is the one to tell.
    }
    throw;
  }
}

void RunStoreSink::store(const Event& event) {
  std::visit([this, &event](const auto& payload) { statements_->store(event, payload); }, event.payload);
}

void RunStoreSink::forget_after(std::int64_t step) {
  std::string sql = "BEGIN IMMEDIATE;";
  for (const char* table : {"steps", "epochs", "validations", "checkpoints", "issues", "messages", "findings"}) {
    sql += "DELETE FROM " + std::string(table) + " WHERE step > " + std::to_string(step) + ";";
  }
  database_.execute(sql + forget_readings_after(step) + "COMMIT;");
}

}  // namespace gradwise
