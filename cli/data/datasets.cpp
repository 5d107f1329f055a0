#include "cli/data/datasets.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "gradwise/core/error.h"
#include "gradwise/data/csv.h"
#include "gradwise/data/idx.h"
#include "gradwise/data/npz.h"
#include "gradwise/data/safetensors.h"
#include "gradwise/data/text.h"

namespace gradwise {
namespace {

constexpr std::int64_t kTestBatch = 500;

const at::Tensor& array_of(const std::map<std::string, at::Tensor>& arrays, const std::string& name,
                           const std::string& file) {
  const auto found = arrays.find(name);
  if (found == arrays.end()) {
    std::string known;
    for (const auto& [key, tensor] : arrays) {
      known += (known.empty() ? "" : ", ") + key;
    }
    fail("data", file, " has no array \"", name, "\", it has: ", known);
  }
  return found->second;
}

// `training`: null for the training data themselves.
Dataset read_file(const DataOptions& data, const std::string& file, const Dataset* training) {
  if (data.kind == "csv") {
    return training == nullptr ? read_csv(file, data.csv) : read_csv_like(*training, file, data.csv);
  }
  const auto arrays = data.kind == "npz" ? read_npz(file) : read_safetensors(file).tensors;
  return make_dataset(array_of(arrays, data.inputs, file), array_of(arrays, data.targets, file));
}

Dataset first_samples(Dataset dataset, std::int64_t limit) {
  if (limit > 0 && limit < dataset.size()) {
    dataset.inputs = dataset.inputs.narrow(0, 0, limit);
    if (dataset.targets.defined()) {
      dataset.targets = dataset.targets.narrow(0, 0, limit);
    }
  }
  return dataset;
}

// Classes: one more than the largest label; for numbers to predict, their count.
std::int64_t outputs_of(const Dataset& train, const RunConfig& config) {
  const bool labels = !train.targets.is_floating_point();
  const std::string& loss = config.loss.name;
  if (loss == "cross_entropy") {
    GRADWISE_CHECK(labels, "config",
                   "loss.name is \"cross_entropy\", which needs classes as targets; these are numbers");
    return config.data.classes > 0     ? config.data.classes
           : train.class_names.empty() ? train.targets.max().item<std::int64_t>() + 1
                                       : static_cast<std::int64_t>(train.class_names.size());
  }
  GRADWISE_CHECK(!labels || loss == "binary_cross_entropy", "config", "loss.name is \"", loss,
                 "\", which needs numbers as targets; these are classes");
  return train.targets.dim() > 1 ? train.targets.size(1) : 1;
}

void check_scaling(const RunConfig& config) {
  GRADWISE_CHECK(!config.data.standardize_targets || can_standardize_targets(config), "config",
                 "data.standardize_targets is true, loss.name is \"", config.loss.name, "\" and data.kind is \"",
                 config.data.kind, "\", allowed with it: the losses mse, mae, huber, and no text");
}

LoaderOptions train_options(const RunConfig& config) {
  LoaderOptions options = config.loader;
  options.seed = config.loader.seed != 0 ? config.loader.seed : config.train.seed;
  return options;
}

LoaderOptions test_options(const RunConfig& config, std::int64_t samples) {
  LoaderOptions options = config.loader;
  options.batch_size = std::min(samples, kTestBatch);
  options.shuffle = options.flip = options.drop_last = false;
  options.crop_padding = 0;
  return options;
}

RunData load_text(const RunConfig& config) {
  const DataOptions& data = config.data;
  GRADWISE_CHECK(data.limit == 0, "config", "data.limit is ", data.limit, ", allowed for text: 0");
  Text train = read_text(data.file);
  std::optional<Text> test;
  if (!data.test_file.empty()) {
    test = read_text(data.test_file, train.vocabulary);
  } else if (data.validation_split > 0) {
    TextSplit parts = split(train, 1 - data.validation_split);
    train = std::move(parts.first);
    test = std::move(parts.second);
  }
  RunData loaded;
  loaded.shape = {{data.text.block_size}, static_cast<std::int64_t>(train.vocabulary.size())};
  loaded.train =
      std::make_unique<DataLoader>(std::make_shared<TextWindowStore>(train.tokens, data.text), train_options(config));
  if (test) {
    auto store = std::make_shared<TextWindowStore>(test->tokens, WindowOptions{data.text.block_size, 0});
    LoaderOptions options = test_options(config, store->size());
    loaded.test = std::make_unique<DataLoader>(std::move(store), options);
  }
  return loaded;
}

std::pair<Dataset, Dataset> read_sets(const DataOptions& data, std::int64_t seed) {
  Dataset train =
      data.kind == "idx" ? read_idx_dataset(data.train_images, data.train_labels) : read_file(data, data.file, nullptr);
  train = first_samples(std::move(train), data.limit);
  if (!data.test_images.empty()) {
    return {std::move(train), read_idx_dataset(data.test_images, data.test_labels)};
  }
  if (!data.test_file.empty()) {
    Dataset test = read_file(data, data.test_file, &train);
    return {std::move(train), std::move(test)};
  }
  if (data.validation_split > 0) {
    DatasetSplit parts = split(train, 1 - data.validation_split, seed);
    return {std::move(parts.first), std::move(parts.second)};
  }
  return {std::move(train), Dataset{}};
}

}  // namespace

bool can_standardize_targets(const RunConfig& config) {
  const std::string& loss = config.loss.name;
  return config.data.kind != "text" && (loss == "mse" || loss == "mae" || loss == "huber");
}

RunData load_data(const RunConfig& config) {
  check_scaling(config);
  if (config.data.kind == "text") {
    return load_text(config);
  }
  auto [train, test] = read_sets(config.data, config.train.seed);
  GRADWISE_CHECK(train.size() > 0, "data", "the training data are empty");
  GRADWISE_CHECK(train.targets.defined(), "config", "data.csv.label is \"\", allowed: the column to predict");
  RunData loaded;
  loaded.shape.sample.assign(train.inputs.sizes().begin() + 1, train.inputs.sizes().end());
  loaded.shape.outputs = outputs_of(train, config);
  if (config.loss.name == "cross_entropy") {
    check_labels(train, loaded.shape.outputs);
  }
  if (config.data.standardize_targets) {
    loaded.target_scaling = target_scaling_of(train);
    for (Dataset* part : {&train, &test}) {
      part->targets = part->size() > 0 ? scaled_targets(part->targets, loaded.target_scaling) : part->targets;
    }
  }
  loaded.train = std::make_unique<DataLoader>(std::move(train), train_options(config));
  const bool named = !config.data.test_images.empty() || !config.data.test_file.empty();
  GRADWISE_CHECK(test.size() > 0 || !named, "data", "the test data are empty");
  if (test.size() > 0) {
    if (config.loss.name == "cross_entropy") {
      check_labels(test, loaded.shape.outputs);
    }
    const LoaderOptions options = test_options(config, test.size());
    loaded.test = std::make_unique<DataLoader>(std::move(test), options);
  }
  return loaded;
}

}  // namespace gradwise
