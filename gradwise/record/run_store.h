#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

#include "gradwise/core/event.h"
#include "gradwise/record/sqlite.h"

namespace gradwise {

inline constexpr int kRunStoreVersion = 3;
/// Stores of this version lack the steps' peak_bytes: read without, and brought up to date where a run goes on.
inline constexpr int kOldestRunStoreVersion = 2;

/// An error where this program doesn't read stores of the version that was found.
void check_run_store_version(const std::filesystem::path& path, std::int64_t found);

/// A run's events in SQLite (`run.sqlite`, write-ahead log), a table a kind, one transaction a write. Others may read
/// while it is written. `RunReader` gives them back.
class RunStoreSink : public Sink {
 public:
  /// Opens or creates the file; a file of another version or of something else is an error.
  explicit RunStoreSink(const std::filesystem::path& path);
  ~RunStoreSink() override;

  void write(std::span<const Event> events) override;
  /// Nothing to do: each write is a committed transaction. A killed process loses none; a power cut may take the last
  /// ones (synchronous=NORMAL) but leaves the file whole.
  void flush() override {}
  /// Removes what came after `step`: a resumed run will tell it again.
  void forget_after(std::int64_t step);

 private:
  struct Statements;
  void store(const Event& event);

  Database database_;
  std::unique_ptr<Statements> statements_;
};

}  // namespace gradwise
