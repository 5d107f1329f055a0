#include "benchmarks/training/setting.h"

#include <ATen/Parallel.h>
#include <malloc.h>

#include <numeric>
#include <string>
#include <vector>

#include "cli/models/model_factory.h"
#include "gradwise/core/error.h"
#include "gradwise/core/random_state.h"
#include "gradwise/data/dataset.h"
#include "gradwise/data/idx.h"
#include "gradwise/data/loader.h"
#include "gradwise/data/new_tensor.h"

namespace gradwise::bench {
namespace {

constexpr std::int64_t kTinyBatch = 8;

/// One batch as often as an epoch has batches.
class RepeatedBatch : public BatchSource {
 public:
  explicit RepeatedBatch(std::int64_t batches) : batches_(batches) {
    batch_.input = new_tensor({kTinyBatch, 4}, at::kFloat).fill_(0.5);
    batch_.target = new_tensor({kTinyBatch}, at::kLong).zero_();
  }
  void start(std::int64_t /*epoch*/, std::int64_t position) override { left_ = batches_ - position; }
  bool next(Batch& batch) override {
    batch = batch_;
    return left_-- > 0;
  }
  [[nodiscard]] std::int64_t batches_per_epoch() const override { return batches_; }

 private:
  Batch batch_;
  std::int64_t batches_;
  std::int64_t left_ = 0;
};

Dataset first_images(const Setting& setting) {
  const std::string start = setting.data + "/train-";
  Dataset all = read_idx_dataset(start + "images-idx3-ubyte.gz", start + "labels-idx1-ubyte.gz");
  GRADWISE_CHECK(setting.images >= 1, "bench", "images is ", setting.images, ", allowed: >= 1");
  if (setting.images >= all.size()) {
    return all;
  }
  std::vector<std::int64_t> first(static_cast<std::size_t>(setting.images));
  std::iota(first.begin(), first.end(), std::int64_t{0});
  return subset(all, first);
}

}  // namespace

void set_up_process(const Setting& setting) {
  ::mallopt(M_MMAP_THRESHOLD, 1 << 30);
  ::mallopt(M_TRIM_THRESHOLD, 2'000'000'000);
  ::mallopt(M_TOP_PAD, 64 << 20);
  if (setting.threads > 0) {
    at::set_num_threads(static_cast<int>(setting.threads));
  }
}

Model make_model(const Setting& setting) {
  seed_everything(0);
  ModelOptions options;
  ModelShape shape{{1, 28, 28}, 10};
  if (setting.model == "cnn") {
    options.name = "cnn";
    options.channels = {24, 48};
    options.hidden = {64};
    options.batch_norm = true;
    options.dropout = 0.2;
  } else if (setting.model == "tiny") {
    options.hidden = {8};
    shape = {{4}, 2};
  }
  return build_model(options, shape);
}

std::unique_ptr<BatchSource> make_source(const Setting& setting) {
  if (setting.model == "tiny") {
    return std::make_unique<RepeatedBatch>((setting.images + kTinyBatch - 1) / kTinyBatch);
  }
  LoaderOptions options;
  options.batch_size = setting.model == "cnn" ? 128 : 64;
  options.scale = 1.0 / 255;
  options.mean = {0.2860};
  options.stddev = {0.3530};
  return std::make_unique<DataLoader>(first_images(setting), options);
}

OptimizerOptions make_optimizer_options() {
  OptimizerOptions options;
  options.lr = kLearningRate;
  return options;
}

}  // namespace gradwise::bench
