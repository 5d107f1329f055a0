#include "gradwise/train/checkpoint.h"

#include <fcntl.h>
#include <stdio.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <sstream>
#include <system_error>

#include "gradwise/core/atomic_file.h"
#include "gradwise/core/error.h"
#include "gradwise/data/safetensors.h"

namespace gradwise {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPrefix = "checkpoint-";
constexpr const char* kModelFile = "model.safetensors";
constexpr const char* kTensorsFile = "training_state.safetensors";
constexpr const char* kValuesFile = "trainer_state.json";
constexpr const char* kBestLink = "best";
constexpr int kFormat = 1;

// The step of "checkpoint-<step>", -1 for another name.
std::int64_t step_of(const std::string& name) {
  std::int64_t step = -1;
  if (name.starts_with(kPrefix)) {
    const char* begin = name.data() + std::string_view(kPrefix).size();
    const char* end = name.data() + name.size();
    const auto parsed = std::from_chars(begin, end, step);
    return parsed.ptr == end && begin != end ? step : -1;
  }
  return step;
}

std::string name_of(std::int64_t step) { return kPrefix + std::to_string(step); }

nlohmann::json read_json(const fs::path& path) {
  std::ifstream file(path);
  if (!file) {
    fail("checkpoint", "can't read ", path.string());
  }
  nlohmann::json parsed = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (parsed.is_discarded() || !parsed.is_object()) {
    fail("checkpoint", path.string(), " is not a JSON object");
  }
  return parsed;
}

// Swaps the two where `to` stands already, so that a whole folder of that name is there at every moment.
void replace_folder(const fs::path& from, const fs::path& to) {
  const bool exchange = fs::exists(to);
  int status = ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), exchange ? RENAME_EXCHANGE : 0);
  if (status != 0 && exchange && (errno == EINVAL || errno == ENOSYS)) {
    // A file system that can't swap (NFS): the old one goes first, and a kill in between leaves the one before it.
    std::error_code ignored;
    fs::remove_all(to, ignored);
    status = ::rename(from.c_str(), to.c_str());
  }
  if (status != 0) {
    fail("checkpoint", "can't rename ", from.string(), " to ", to.string(), ": ", std::strerror(errno));
  }
  sync_directory(to.parent_path());
  std::error_code ignored;
  fs::remove_all(from, ignored);
}

}  // namespace

std::vector<CheckpointPlace> list_checkpoints(const fs::path& folder) {
  std::vector<CheckpointPlace> found;
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored)) {
    const std::int64_t step = step_of(entry.path().filename().string());
    if (step >= 0 && entry.is_directory() && !entry.is_symlink()) {
      found.push_back({entry.path(), step});
    }
  }
  std::ranges::sort(found, {}, &CheckpointPlace::step);
  return found;
}

std::int64_t write_checkpoint(const fs::path& folder, std::int64_t step, const Checkpoint& checkpoint) {
  const fs::path temporary = folder / ("." + name_of(step) + ".tmp");
  std::error_code problem;
  fs::remove_all(temporary, problem);
  fs::create_directories(temporary, problem);
  if (problem) {
    fail("checkpoint", "can't create ", temporary.string(), ": ", problem.message());
  }
  try {
    nlohmann::json values = checkpoint.training.values;
    values["format"] = kFormat;
    values["step"] = step;
    write_file_atomically(temporary / kValuesFile, values.dump(1));
    write_safetensors(temporary / kTensorsFile, checkpoint.training.tensors);
    // The model comes last, so that the newest weights in a run's folder are always a model's.
    write_safetensors(temporary / kModelFile, checkpoint.model.tensors, {{"format", "pt"}});
    std::int64_t bytes = 0;
    for (const char* file : {kModelFile, kTensorsFile, kValuesFile}) {
      bytes += static_cast<std::int64_t>(fs::file_size(temporary / file));
    }
    replace_folder(temporary, folder / name_of(step));
    return bytes;
  } catch (...) {
    fs::remove_all(temporary, problem);
    throw;
  }
}

Checkpoint read_checkpoint(const fs::path& checkpoint) {
  if (!fs::is_directory(checkpoint)) {
    fail("checkpoint", "there is no checkpoint folder ", checkpoint.string());
  }
  Checkpoint read;
  read.training.values = read_json(checkpoint / kValuesFile);
  const int format = read.training.values.value("format", 0);
  if (format != kFormat) {
    fail("checkpoint", (checkpoint / kValuesFile).string(), " has format ", format, ", this version reads ", kFormat);
  }
  read.training.tensors = read_safetensors(checkpoint / kTensorsFile).tensors;
  read.model.tensors = read_safetensors(checkpoint / kModelFile).tensors;
  return read;
}

std::pair<CheckpointPlace, Checkpoint> newest_checkpoint(const fs::path& folder, std::vector<std::string>& complaints) {
  std::vector<CheckpointPlace> places = list_checkpoints(folder);
  for (auto place = places.rbegin(); place != places.rend(); ++place) {
    try {
      return {*place, read_checkpoint(place->path)};
    } catch (const std::exception& error) {
      complaints.push_back(place->path.string() + " can't be used: " + error.what());
    }
  }
  std::string all;
  for (const std::string& complaint : complaints) {
    all += "; " + complaint;
  }
  fail("checkpoint", "there is no checkpoint that can be read in ", folder.string(), all);
}

void prune_checkpoints(const fs::path& folder, std::int64_t keep_last, std::int64_t newest) {
  std::error_code ignored;
  const fs::path best = fs::read_symlink(folder / kBestLink, ignored);
  std::vector<CheckpointPlace> places = list_checkpoints(folder);
  std::erase_if(places, [newest](const CheckpointPlace& place) { return place.step > newest; });
  const std::size_t keep = std::min(places.size(), static_cast<std::size_t>(keep_last));
  for (std::size_t i = 0; i + keep < places.size(); ++i) {
    if (places[i].path.filename() != best) {
      // Under another name first, so that a kill leaves no half-removed checkpoint.
      const fs::path doomed = folder / ("." + places[i].path.filename().string() + ".tmp");
      fs::rename(places[i].path, doomed, ignored);
      fs::remove_all(doomed, ignored);
    }
  }
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(std::string(".") + kPrefix) && name.ends_with(".tmp")) {
      fs::remove_all(entry.path(), ignored);
    }
  }
}

void mark_best(const fs::path& folder, std::int64_t step) {
  const fs::path fresh = folder / ".best.tmp";
  std::error_code problem;
  fs::remove(fresh, problem);
  fs::create_directory_symlink(name_of(step), fresh, problem);
  if (!problem) {
    fs::rename(fresh, folder / kBestLink, problem);
  }
  if (!problem) {
    sync_directory(folder);  // the best one before may be deleted next
  }
  if (problem) {
    fail("checkpoint", "can't write the link ", (folder / kBestLink).string(), ": ", problem.message());
  }
}

void check_architecture(const State& saved, const NamedParameters& model, const std::string& where) {
  std::ostringstream differences;
  std::size_t matched = 0;
  for (std::size_t i = 0; i < model.size(); ++i) {
    const auto found = saved.tensors.find(model.names[i]);
    if (found == saved.tensors.end()) {
      differences << "\n  " << model.names[i] << ": model " << model.tensors[i].sizes() << ", not in the checkpoint";
      continue;
    }
    ++matched;
    if (found->second.sizes() != model.tensors[i].sizes() ||
        found->second.scalar_type() != model.tensors[i].scalar_type()) {
      differences << "\n  " << model.names[i] << ": model " << model.tensors[i].sizes() << ' '
                  << model.tensors[i].scalar_type() << ", checkpoint " << found->second.sizes() << ' '
                  << found->second.scalar_type();
    }
  }
  if (matched < saved.tensors.size()) {
    for (const auto& [name, tensor] : saved.tensors) {
      if (std::ranges::find(model.names, name) == model.names.end()) {
        differences << "\n  " << name << ": checkpoint " << tensor.sizes() << ", not in the model";
      }
    }
  }
  const std::string text = differences.str();
  if (!text.empty()) {
    fail("checkpoint", where, " is of another architecture:", text);
  }
}

}  // namespace gradwise
