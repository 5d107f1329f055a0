#include "gradwise/rules/history.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstddef>
#include <iterator>

namespace gradwise {
namespace {

constexpr const char* kTableNames[] = {"emb", "wte", "wpe", "codebook", "lookup", "position", "pos_", "token"};

std::vector<double> without_nan(const std::vector<double>& values) {
  std::vector<double> kept;
  for (const double value : values) {
    if (!std::isnan(value)) {
      kept.push_back(value);
    }
  }
  return kept;
}

// The newest `count` of what `pick` finds in readings, oldest first.
template <class Found>
std::vector<const Found*> newest(const std::deque<StepRecord>& steps, std::size_t count,
                                 const Found* (*pick)(const StepReading&)) {
  std::vector<const Found*> found;
  for (auto record = steps.rbegin(); record != steps.rend() && found.size() < count; ++record) {
    const Found* picked = record->reading ? pick(*record->reading) : nullptr;
    if (picked != nullptr) {
      found.push_back(picked);
    }
  }
  std::reverse(found.begin(), found.end());
  return found;
}

// A parameter of a single row is a table too: positions and class tokens are made as {1, length, width}.
bool is_table(const ParameterFacts& facts) {
  std::string name = facts.name;
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  const bool named = std::any_of(std::begin(kTableNames), std::end(kTableNames),
                                 [&name](const char* part) { return name.find(part) != std::string::npos; });
  return named || (facts.shape.size() > 2 && facts.shape[0] == 1);
}

constexpr std::size_t kFirstLosses = 64;
constexpr std::size_t kLastLosses = 2048;
constexpr std::size_t kMostLosses = kFirstLosses + 2 * kLastLosses;

// Puts pairs of what lies between the first and the last losses together.
void thin(std::vector<double>& losses) {
  std::vector<double> kept(losses.begin(), losses.begin() + kFirstLosses);
  const std::size_t end = losses.size() - kLastLosses;
  for (std::size_t i = kFirstLosses; i + 1 < end; i += 2) {
    kept.push_back(mean_of({losses[i], losses[i + 1]}));
  }
  kept.insert(kept.end(), losses.end() - kLastLosses, losses.end());
  losses = std::move(kept);
}

}  // namespace

double ValidationRecord::metric(const std::string& name) const {
  const auto found = std::find_if(metrics.begin(), metrics.end(), [&name](const auto& m) { return m.first == name; });
  return found == metrics.end() ? kNotMeasured : found->second;
}

void History::add(StepRecord record) {
  losses.push_back(record.info.skipped ? kNotMeasured : record.info.loss);
  if (losses.size() >= kMostLosses) {
    thin(losses);
  }
  steps.push_back(std::move(record));
  if (steps.size() > kKeptSteps) {
    steps.pop_front();
  }
}

std::vector<const StepReading*> History::readings(std::size_t count) const {
  return newest<StepReading>(steps, count, [](const StepReading& reading) -> const StepReading* { return &reading; });
}

std::vector<const StepReading*> History::readings_with_activations(std::size_t count) const {
  return newest<StepReading>(steps, count, [](const StepReading& reading) -> const StepReading* {
    return reading.activations.empty() ? nullptr : &reading;
  });
}

std::vector<const StepReading*> History::readings_with_loss_path(std::size_t count) const {
  return newest<StepReading>(steps, count, [](const StepReading& reading) -> const StepReading* {
    return reading.loss_path.empty() ? nullptr : &reading;
  });
}

std::vector<const StepReading*> History::readings_with_batch_norms(std::size_t count) const {
  return newest<StepReading>(steps, count, [](const StepReading& reading) -> const StepReading* {
    return reading.batch_norms.empty() ? nullptr : &reading;
  });
}

std::vector<const StepReading*> History::readings_of_updates(std::size_t count) const {
  std::vector<const StepReading*> found;
  for (auto record = steps.rbegin(); record != steps.rend() && found.size() < count; ++record) {
    if (!record->info.skipped && record->reading && !record->reading->parameters.empty()) {
      found.push_back(record->reading.get());
    }
  }
  std::reverse(found.begin(), found.end());
  return found;
}

std::vector<const BatchReading*> History::batches(std::size_t count) const {
  return newest<BatchReading>(steps, count,
                              [](const StepReading& reading) -> const BatchReading* { return reading.batch.get(); });
}

std::vector<double> History::recent_losses(std::size_t count) const {
  std::vector<double> found;
  for (auto loss = losses.rbegin(); loss != losses.rend() && found.size() < count; ++loss) {
    if (!std::isnan(*loss)) {
      found.push_back(*loss);
    }
  }
  std::reverse(found.begin(), found.end());
  return found;
}

double mean_of(const std::vector<double>& values) {
  const std::vector<double> kept = without_nan(values);
  double sum = 0;
  for (const double value : kept) {
    sum += value;
  }
  return kept.empty() ? kNotMeasured : sum / static_cast<double>(kept.size());
}

double median_of(std::vector<double> values) {
  values = without_nan(values);
  if (values.empty()) {
    return kNotMeasured;
  }
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : 0.5 * (values[half - 1] + values[half]);
}

double robust_deviation(const std::vector<double>& values) {
  const double middle = median_of(values);
  std::vector<double> distances;
  for (const double value : without_nan(values)) {
    distances.push_back(std::abs(value - middle));
  }
  return 1.4826 * median_of(std::move(distances));
}

double slope_of(const std::vector<double>& values) {
  const double middle = 0.5 * (static_cast<double>(values.size()) - 1);
  const double mean = mean_of(values);
  double above = 0;
  double below = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isnan(values[i])) {
      const double x = static_cast<double>(i) - middle;
      above += x * (values[i] - mean);
      below += x * x;
    }
  }
  return below > 0 ? above / below : kNotMeasured;
}

bool is_weight(const ParameterFacts& parameter) { return parameter.shape.size() >= 2; }

std::vector<std::size_t> weights_by_depth(const RunFacts& facts) {
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i < facts.parameters.size(); ++i) {
    if (facts.parameters[i].trainable && is_weight(facts.parameters[i])) {
      found.push_back(i);
    }
  }
  return found;
}

std::vector<std::size_t> layer_weights(const History& history) {
  std::vector<std::size_t> found = weights_by_depth(history.facts);
  const auto batches = history.batches(1);
  if (!batches.empty() && batches.back()->tokens && !found.empty()) {
    found.erase(found.begin());  // integers can only be looked up
  }
  std::erase_if(found, [&history](std::size_t i) { return is_table(history.facts.parameters[i]); });
  return found;
}

std::vector<double> figures_of(const std::vector<const StepReading*>& readings, std::size_t parameter,
                               double ParameterReading::* figure) {
  std::vector<double> figures;
  for (const StepReading* reading : readings) {
    figures.push_back(parameter < reading->parameters.size() ? reading->parameters[parameter].*figure : kNotMeasured);
  }
  return figures;
}

double variance_before(const ParameterReading& reading, const ParameterFacts& facts) {
  if (reading.update_ratio < 0.1 || reading.update_norm == 0) {
    return reading.weight_variance;  // the update is too small to matter
  }
  const double norm = reading.update_norm / reading.update_ratio;
  return std::max(0.0, norm * norm / facts.elements() - reading.weight_mean * reading.weight_mean);
}

bool rate_rises(const History& history, std::size_t steps) {
  if (history.empty()) {
    return false;
  }
  const std::size_t last = history.steps.size() - 1;
  return history.now().info.lr > 1.000001 * history.steps[last - std::min(last, steps)].info.lr;
}

double fall_of(const std::vector<double>& losses) {
  const std::size_t part = std::min<std::size_t>(losses.size() / 5, 100);
  if (part == 0) {
    return kNotMeasured;
  }
  const auto length = static_cast<std::ptrdiff_t>(part);
  const double first = median_of({losses.begin(), losses.begin() + length});
  const double last = median_of({losses.end() - length, losses.end()});
  return first == last ? 0 : (first - last) / std::abs(first);
}

std::size_t hidden_activations(const StepReading& reading, const RunFacts& facts) {
  const std::vector<std::size_t> weights = weights_by_depth(facts);
  const std::string last = weights.empty() ? "" : layer_of(facts.parameters[weights.back()].name);
  std::size_t count = reading.activations.size();
  while (count > 0) {
    const ActivationReading& activation = reading.activations[count - 1];
    const bool on_path =
        std::find(reading.loss_path.begin(), reading.loss_path.end(), activation.op) != reading.loss_path.end();
    if (!on_path || (!activation.layer.empty() && activation.layer != last)) {
      break;
    }
    --count;
  }
  return count;
}

}  // namespace gradwise
