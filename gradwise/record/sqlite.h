#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <utility>

struct sqlite3;
struct sqlite3_stmt;

namespace gradwise {

/// One SQLite statement, prepared once and run often. Parameters and columns count from 0.
class Statement {
 public:
  Statement(sqlite3* database, const std::string& sql);
  ~Statement();
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  Statement& bind(int index, std::int64_t value);
  Statement& bind(int index, double value);  ///< NaN becomes NULL
  Statement& bind(int index, const std::string& value);
  /// Bytes; copied.
  Statement& bind_blob(int index, std::span<const std::byte> bytes);
  /// Goes to the next row; false at the end, and the statement can be bound anew.
  bool row();
  /// For statements without rows.
  void run();

  [[nodiscard]] std::int64_t integer(int column) const;
  [[nodiscard]] double real(int column) const;  ///< NULL becomes NaN
  [[nodiscard]] std::string text(int column) const;
  [[nodiscard]] std::span<const std::byte> blob(int column) const;  ///< until the next row

 private:
  sqlite3* database_;
  sqlite3_stmt* statement_ = nullptr;
};

/// A connection; errors carry the file and SQLite's reason.
class Database {
 public:
  enum class Mode { read_only, read_write };
  Database(const std::filesystem::path& path, Mode mode);
  Database(Database&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  void execute(const std::string& sql);
  [[nodiscard]] Statement prepare(const std::string& sql) const { return Statement(handle_, sql); }

 private:
  sqlite3* handle_ = nullptr;
};

}  // namespace gradwise
