#pragma once

#include <filesystem>
#include <string>

#include "gradwise/record/run_reader.h"

namespace gradwise {

/// What a run did, as plain text of at most 100 columns: what was trained, each epoch, gradients and speed, issues by
/// rule, checkpoints, and what to do next.
[[nodiscard]] std::string text_report(const RunReader& run);

/// The report as a file, written atomically.
void write_report(const RunReader& run, const std::filesystem::path& path);

}  // namespace gradwise
