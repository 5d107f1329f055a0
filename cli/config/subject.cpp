#include "cli/config/subject.h"

#include "cli/commands/run_path.h"
#include "cli/config/load_config.h"
#include "gradwise/core/error.h"
#include "gradwise/record/run_folder.h"
#include "gradwise/train/checkpoint.h"

namespace gradwise {

Subject subject_named(const std::string& name) {
  const std::filesystem::path path = run_path(name);
  if (!std::filesystem::exists(path)) {
    fail_usage("run", "there is no run ", name, ", and no configuration of that name");
  }
  if (!std::filesystem::is_directory(path)) {
    return {path, {}, {}};
  }
  Subject subject{file_of_run(path, "config.toml"), {}, path};
  const std::filesystem::path checkpoints = path / "checkpoints";
  if (std::filesystem::exists(checkpoints) && !list_checkpoints(checkpoints).empty()) {
    std::vector<std::string> complaints;
    subject.checkpoint = newest_checkpoint(checkpoints, complaints).first.path;
  }
  return subject;
}

RunConfig config_of(const Subject& subject, const std::vector<std::string>& overrides) {
  RunConfig config = load_config(subject.config, overrides);
  resolve_paths(config, subject.config.parent_path());
  check_config(config);
  return config;
}

}  // namespace gradwise
