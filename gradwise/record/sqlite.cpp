#include "gradwise/record/sqlite.h"

#include <sqlite3.h>

#include <cmath>
#include <limits>

#include "gradwise/core/error.h"

namespace gradwise {
namespace {

[[noreturn]] void fail_with(sqlite3* database) {
  const char* file = sqlite3_db_filename(database, "main");
  fail("run store", file != nullptr ? file : "", ": ", sqlite3_errmsg(database));
}

void require(int status, sqlite3* database) {
  if (status != SQLITE_OK) {
    fail_with(database);
  }
}

}  // namespace

Statement::Statement(sqlite3* database, const std::string& sql) : database_(database) {
  require(sqlite3_prepare_v2(database, sql.c_str(), -1, &statement_, nullptr), database);
}

Statement::~Statement() { sqlite3_finalize(statement_); }

Statement& Statement::bind(int index, std::int64_t value) {
  require(sqlite3_bind_int64(statement_, index + 1, value), database_);
  return *this;
}

Statement& Statement::bind(int index, double value) {
  const int status =
      std::isnan(value) ? sqlite3_bind_null(statement_, index + 1) : sqlite3_bind_double(statement_, index + 1, value);
  require(status, database_);
  return *this;
}

Statement& Statement::bind(int index, const std::string& value) {
  require(sqlite3_bind_text(statement_, index + 1, value.c_str(), static_cast<int>(value.size()), SQLITE_TRANSIENT),
          database_);
  return *this;
}

Statement& Statement::bind_blob(int index, std::span<const std::byte> bytes) {
  require(sqlite3_bind_blob64(statement_, index + 1, bytes.data(), bytes.size(), SQLITE_TRANSIENT), database_);
  return *this;
}

bool Statement::row() {
  const int status = sqlite3_step(statement_);
  if (status == SQLITE_ROW) {
    return true;
  }
  if (status != SQLITE_DONE) {
    fail_with(database_);
  }
  sqlite3_reset(statement_);
  return false;
}

void Statement::run() {
  while (row()) {
  }
}

std::int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_, column); }

double Statement::real(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL ? std::numeric_limits<double>::quiet_NaN()
                                                                : sqlite3_column_double(statement_, column);
}

std::string Statement::text(int column) const {
  const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  return bytes == nullptr ? std::string() : std::string(bytes);
}

std::span<const std::byte> Statement::blob(int column) const {
  const auto* bytes = static_cast<const std::byte*>(sqlite3_column_blob(statement_, column));
  return {bytes, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}

Database::Database(const std::filesystem::path& path, Mode mode) {
  const int flags = mode == Mode::read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  const int status = sqlite3_open_v2(path.c_str(), &handle_, flags, nullptr);
  if (status != SQLITE_OK) {
    const std::string reason = sqlite3_errmsg(handle_);
    sqlite3_close(handle_);
    fail("run store", "can't open ", path.string(), ": ", reason);
  }
  sqlite3_busy_timeout(handle_, 5000);
}

Database::~Database() { sqlite3_close(handle_); }

void Database::execute(const std::string& sql) {
  require(sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr), handle_);
}

}  // namespace gradwise
