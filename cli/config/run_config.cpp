#include "cli/config/run_config.h"

#include <algorithm>
#include <filesystem>

#include "gradwise/train/metrics.h"

namespace gradwise {
namespace {

void require_file(const char* key, const std::string& path, bool optional) {
  if (path.empty()) {
    GRADWISE_CHECK(optional, "config", key, " is empty, allowed: a file");
    return;
  }
  if (!std::filesystem::is_regular_file(path)) {
    fail("config", key, ": there is no file ", path);
  }
}

}  // namespace

void resolve_paths(RunConfig& config, const std::filesystem::path& beside) {
  namespace fs = std::filesystem;
  DataOptions& data = config.data;
  for (std::string* path : {&data.train_images, &data.train_labels, &data.test_images, &data.test_labels, &data.file,
                            &data.test_file, &config.model.file}) {
    if (path->empty() || fs::path(*path).is_absolute()) {
      continue;
    }
    const fs::path here = fs::absolute(*path).lexically_normal();
    const fs::path there = fs::absolute(beside / *path).lexically_normal();
    *path = (fs::exists(here) || !fs::exists(there) ? here : there).string();
  }
}

void check_config(const RunConfig& config) {
  const DataOptions& data = config.data;
  if (data.kind == "idx") {
    require_file("data.train_images", data.train_images, false);
    require_file("data.train_labels", data.train_labels, false);
    require_file("data.test_images", data.test_images, true);
    require_file("data.test_labels", data.test_labels, data.test_images.empty());
  } else {
    require_file("data.file", data.file, false);
    require_file("data.test_file", data.test_file, true);
  }
  const LoopOptions& train = config.train;
  for (const std::string& name : train.metrics) {
    (void)make_metric(name);  // before `monitor` is blamed for a slip in them
  }
  const bool known = train.monitor == "loss" || std::ranges::find(train.metrics, train.monitor) != train.metrics.end();
  GRADWISE_CHECK(
      !train.step.in_backward || (train.accumulate == 1 && config.watch.skip_on.empty()), "config",
      "train.step.in_backward moves the weights in each backward pass, allowed with it: train.accumulate = 1 "
      "and no watch.skip_on");
  GRADWISE_CHECK(known, "config", "train.monitor is \"", train.monitor, "\", allowed: loss or one of train.metrics");
}

}  // namespace gradwise
