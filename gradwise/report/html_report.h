#pragma once

#include <filesystem>

#include "gradwise/record/run_reader.h"

namespace gradwise {

/// The run as one HTML file that needs nothing beside it: what was trained, the diagnosis, every figure that the run
/// has data for (as SVG inside the file), epochs and issues. Light or dark as the reader's system is; without scripts.
/// Written atomically. Where gnuplot is missing, the page says so in the figures' place.
void write_html_report(const RunReader& run, const std::filesystem::path& path);

}  // namespace gradwise
