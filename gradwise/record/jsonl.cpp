#include "gradwise/record/jsonl.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "gradwise/core/atomic_file.h"
#include "gradwise/core/error.h"
#include "gradwise/record/event_json.h"

namespace gradwise {
namespace {

constexpr std::size_t kChunk = std::size_t{1} << 20;

// Whether an event is from before the checkpoint of `step`: not where the line is no event, as one that a kill cut off,
// and not what stands at the end of a run.
bool is_before(const std::string& line, std::int64_t step) {
  const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || json.value("kind", "") == "run_finished" || json.value("data", "") == "test") {
    return false;
  }
  const auto found = json.find("step");
  return found != json.end() && found->is_number_integer() && found->get<std::int64_t>() <= step;
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
    if (is_before(line, step)) {
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
