#include "gradwise/record/jsonl.h"

#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "gradwise/core/atomic_file.h"
#include "gradwise/core/error.h"
#include "gradwise/record/event_json.h"

namespace gradwise {
namespace {

constexpr std::size_t kChunk = std::size_t{1} << 20;

// The event's step; later than any where the line is no event, as one that a kill cut off.
std::int64_t step_of(const std::string& line) {
  const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  const auto found = json.find("step");
  return found != json.end() && found->is_number_integer() ? found->get<std::int64_t>()
                                                           : std::numeric_limits<std::int64_t>::max();
}

}  // namespace

void JsonlSink::write(std::span<const Event> events) {
  buffer_.clear();
  for (const Event& event : events) {
    buffer_ += event_to_json(event).dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
    buffer_ += '\n';
  }
  file_.write(buffer_);
}

void forget_jsonl_after(const std::filesystem::path& path, std::int64_t step) {
  std::ifstream file(path);
  if (!file) {
    return;
  }
  AtomicFile kept(path);
  std::string chunk;
  for (std::string line; std::getline(file, line);) {
    if (step_of(line) <= step) {
      chunk += line + '\n';
    }
    if (chunk.size() >= kChunk) {
      kept.write(chunk.data(), chunk.size());
      chunk.clear();
    }
  }
  if (file.bad()) {
    fail("jsonl", "can't read ", path.string());
  }
  kept.write(chunk.data(), chunk.size());
  kept.commit();
}

}  // namespace gradwise
