#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <utility>

#include "gradwise/core/event.h"
#include "gradwise/record/append_file.h"

namespace gradwise {

/// A run's events as JSON, one object a line (`events.jsonl`), appended and fsynced.
class JsonlSink : public Sink {
 public:
  explicit JsonlSink(std::filesystem::path path) : file_(std::move(path)) {}

  void write(std::span<const Event> events) override;
  void flush() override { file_.sync(); }

 private:
  AppendFile file_;
  std::string buffer_;
};

/// Rewrites the file, atomically, without the events after `step` and without a last line that a kill cut off. To be
/// called before a sink opens it; nothing happens where there is no file.
void forget_jsonl_after(const std::filesystem::path& path, std::int64_t step);

}  // namespace gradwise
