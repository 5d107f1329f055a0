#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "gradwise/core/named_parameters.h"
#include "gradwise/core/state.h"

namespace gradwise {

/// A checkpoint is a folder `checkpoint-<step>`: `model.safetensors` (parameters and buffers by name),
/// `training_state.safetensors` (tensors of optimizer, average, random state) and `trainer_state.json` (the rest).
/// It is written as `.checkpoint-<step>.tmp`, fsynced and renamed, so a folder of that name is always whole.
struct Checkpoint {
  State model;  ///< tensors only
  State training;
};

struct CheckpointPlace {
  std::filesystem::path path;
  std::int64_t step;
};

/// Whole checkpoints in a folder, oldest first.
[[nodiscard]] std::vector<CheckpointPlace> list_checkpoints(const std::filesystem::path& folder);

/// Returns the number of bytes written.
std::int64_t write_checkpoint(const std::filesystem::path& folder, std::int64_t step, const Checkpoint& checkpoint);

/// Errors name the file and what is wrong with it.
[[nodiscard]] Checkpoint read_checkpoint(const std::filesystem::path& checkpoint);

/// The newest checkpoint in `folder` that can be read; what was wrong with newer ones goes into `complaints`.
/// An Error where there is none.
[[nodiscard]] std::pair<CheckpointPlace, Checkpoint> newest_checkpoint(const std::filesystem::path& folder,
                                                                       std::vector<std::string>& complaints);

/// Keeps the newest `keep_last` and the best (named by the link `best`), removes the others and what a killed process
/// left half-written.
void prune_checkpoints(const std::filesystem::path& folder, std::int64_t keep_last, std::int64_t newest);

/// Points the link `best` at the checkpoint of `step`.
void mark_best(const std::filesystem::path& folder, std::int64_t step);

/// Throws an Error that lists the names that are missing, superfluous or of another shape or dtype, unless `saved` fits
/// `model` exactly.
void check_architecture(const State& saved, const NamedParameters& model, const std::string& where);

}  // namespace gradwise
