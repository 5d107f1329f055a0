#include "benchmarks/training/checkpoint_cost.h"

#include <string>

#include "benchmarks/training/setting.h"
#include "gradwise/data/new_tensor.h"
#include "gradwise/train/checkpoint_writer.h"

namespace gradwise::bench {
namespace {

constexpr std::int64_t kTensors = 10;

Checkpoint make_checkpoint(std::int64_t parameters) {
  Checkpoint checkpoint;
  for (std::int64_t i = 0; i < kTensors; ++i) {
    checkpoint.model.tensors["layer" + std::to_string(i) + ".weight"] =
        new_tensor({parameters / kTensors}, at::kFloat).fill_(static_cast<double>(i));
  }
  return checkpoint;
}

double seconds_to_copy(const Checkpoint& from, Checkpoint& to) {
  const Stopwatch watch;
  for (auto& [name, tensor] : to.model.tensors) {
    tensor.copy_(from.model.tensors.at(name));
  }
  return watch.seconds();
}

}  // namespace

CheckpointCost measure_checkpoint(const std::filesystem::path& folder, std::int64_t parameters, std::int64_t rounds) {
  CheckpointCost cost;
  const Checkpoint live = make_checkpoint(parameters);
  Checkpoint buffer = make_checkpoint(parameters);
  CheckpointWriter writer(folder, /*keep_last=*/1);
  for (std::int64_t round = 0; round <= rounds; ++round) {
    const Stopwatch watch;
    writer.save(round, live, /*best=*/false);
    const double blocked = watch.seconds();
    writer.wait();
    if (round == 0) {
      cost.first_seconds = blocked;
      continue;
    }
    cost.blocked.push_back(blocked);
    cost.until_saved.push_back(watch.seconds());
    cost.copied.push_back(seconds_to_copy(live, buffer));
  }
  cost.bytes = parameters / kTensors * kTensors * 4;
  return cost;
}

}  // namespace gradwise::bench
