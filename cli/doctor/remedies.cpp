#include "cli/doctor/remedies.h"

#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>

#include <cstdio>
#include <functional>
#include <map>

#include "cli/data/datasets.h"

namespace gradwise {
namespace {

using Remedies = std::vector<Remedy>;

std::string text_of(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value);
  return text;
}

Remedy set_number(const std::string& key, double before, double after) {
  return {key + " " + text_of(before) + " -> " + text_of(after), {key + "=" + text_of(after)}};
}

Remedy set_word(const std::string& key, const std::string& before, const std::string& after) {
  return {key + " " + before + " -> " + after, {key + "=" + after}};
}

Remedies lower_rate(const RunConfig& config) {
  Remedies found;
  for (const double factor : {0.1, 0.01, 0.3}) {
    found.push_back(set_number("optimizer.lr", config.optimizer.lr, config.optimizer.lr * factor));
  }
  return found;
}

Remedies raise_rate(const RunConfig& config) {
  Remedies found;
  for (const double factor : {10.0, 100.0, 1000.0, 1e4}) {
    found.push_back(set_number("optimizer.lr", config.optimizer.lr, config.optimizer.lr * factor));
  }
  return found;
}

Remedies clip_norm(const RunConfig& config) {
  const ClipOptions& clip = config.train.step.clip;
  if (clip.method != "none") {
    return {};
  }
  return {{"clip gradients by norm 1", {"train.step.clip.method=norm", "train.step.clip.max_norm=1"}}};
}

Remedies other_activation(const RunConfig& config) {
  const bool chooses = config.model.name == "mlp" || config.model.name == "cnn";
  if (!chooses) {
    return {};
  }
  Remedies found;
  for (const char* activation : {"relu", "gelu"}) {
    if (config.model.activation != activation) {
      found.push_back(set_word("model.activation", config.model.activation, activation));
    }
  }
  if (config.model.name == "cnn" && !config.model.batch_norm) {
    found.push_back(set_word("model.batch_norm", "false", "true"));
  }
  return found;
}

std::string list_of(const at::Tensor& values) {
  std::string text = "[";
  for (std::int64_t i = 0; i < values.numel(); ++i) {
    text += (i > 0 ? ", " : "") + text_of(values[i].item<double>());
  }
  return text + "]";
}

// Mean and deviation of each channel (column) of the training data as they are stored, times scale.
Remedies standardize(const RunConfig& config) {
  RunConfig plain = config;
  plain.loader.mean.clear();
  plain.loader.stddev.clear();
  plain.loader.crop_padding = 0;
  const RunData data = load_data(plain);
  at::Tensor sum;
  at::Tensor squares;
  double count = 0;
  data.train->start(0, 0);
  for (Batch batch; data.train->next(batch);) {
    if (!batch.input.is_floating_point() || batch.input.dim() < 2) {
      return {};
    }
    const at::Tensor columns = batch.input.to(at::kDouble).transpose(0, 1).flatten(1);
    const at::Tensor s = columns.sum(1);
    const at::Tensor q = columns.square().sum(1);
    sum = sum.defined() ? sum.add(s) : s;
    squares = squares.defined() ? squares.add(q) : q;
    count += static_cast<double>(columns.size(1));
  }
  const at::Tensor mean = sum.div(count);
  const at::Tensor deviation = squares.div(count).sub(mean.square()).clamp_min(0).sqrt();
  const at::Tensor usable = deviation.where(deviation.gt(0), at::ones_like(deviation));
  return {{"standardise the inputs", {"loader.mean=" + list_of(mean), "loader.std=" + list_of(usable)}}};
}

// Losses of standardized targets are compared with others on held-out data alone: see Trial::figure.
Remedies standardize_targets(const RunConfig& config) {
  const DataOptions& data = config.data;
  const bool held_out = data.validation_split > 0 || !data.test_file.empty();
  if (data.standardize_targets || !held_out || !can_standardize_targets(config)) {
    return {};
  }
  return {set_word("data.standardize_targets", "false", "true")};
}

Remedies joined(std::initializer_list<Remedies> groups) {
  Remedies all;
  for (const Remedies& group : groups) {
    all.insert(all.end(), group.begin(), group.end());
  }
  return all;
}

}  // namespace

std::vector<Remedy> remedies_for(const std::string& cause, const RunConfig& config) {
  using Make = std::function<Remedies(const RunConfig&)>;
  static const std::map<std::string, Make> kKnown = {
      {"learning_rate_too_high",
       [](const RunConfig& c) {
         return joined({lower_rate(c), clip_norm(c)});
       }},
      {"learning_rate_too_low", raise_rate},
      {"slow_training",
       [](const RunConfig& c) {
         return joined({raise_rate(c), lower_rate(c)});
       }},
      {"exploding_gradient",
       [](const RunConfig& c) {
         return joined({clip_norm(c), lower_rate(c)});
       }},
      {"loss_instability",
       [](const RunConfig& c) {
         return joined({clip_norm(c), lower_rate(c)});
       }},
      {"nonfinite_operator",
       [](const RunConfig& c) {
         return joined({lower_rate(c), clip_norm(c)});
       }},
      {"vanishing_gradient",
       [](const RunConfig& c) {
         return joined({other_activation(c), raise_rate(c)});
       }},
      {"saturation",
       [](const RunConfig& c) {
         return joined({standardize(c), other_activation(c), lower_rate(c)});
       }},
      {"dead_units",
       [](const RunConfig& c) {
         return joined({lower_rate(c), standardize(c), other_activation(c)});
       }},
      {"initialization",
       [](const RunConfig& c) {
         return joined({standardize(c), lower_rate(c)});
       }},
      {"input_not_scaled", standardize},
      {"target_not_scaled", standardize_targets},
      {"unshuffled_data",
       [](const RunConfig& c) {
         return c.loader.shuffle ? Remedies() : Remedies{set_word("loader.shuffle", "false", "true")};
       }},
      {"batch_too_small",
       [](const RunConfig& c) {
         const auto size = static_cast<double>(c.loader.batch_size);
         return Remedies{set_number("loader.batch_size", size, 4 * size)};
       }},
      {"strong_weight_decay",
       [](const RunConfig& c) {
         const double decay = c.optimizer.weight_decay;
         return Remedies{set_number("optimizer.weight_decay", decay, decay / 10),
                         set_number("optimizer.weight_decay", decay, 0)};
       }},
      {"clipping",
       [](const RunConfig& c) {
         const double bound = c.train.step.clip.max_norm;
         return Remedies{set_number("train.step.clip.max_norm", bound, 10 * bound)};
       }},
      {"gradient_underflow",
       [](const RunConfig& c) {
         return Remedies{set_word("train.step.precision", c.train.step.precision, "float32")};
       }},
      {"ema_lag", [](const RunConfig& c) {
         return Remedies{set_word("train.ema.warmup", c.train.ema.warmup ? "true" : "false", "true")};
       }}};
  const auto known = kKnown.find(cause);
  return known == kKnown.end() ? Remedies() : known->second(config);
}

}  // namespace gradwise
