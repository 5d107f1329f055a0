#include "gradwise/rules/history.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstddef>
#include <iterator>

namespace gradwise {
namespace {

constexpr const char* kTableNames[] = {"emb", "wte", "wpe", "codebook", "lookup", "position", "pos_", "token"};

// The first `count` between the iterators that are numbers.
template <class Iterator>
std::vector<double> numbers_of(Iterator begin, Iterator end, std::size_t count) {
  std::vector<double> found;
  found.reserve(std::min(count, static_cast<std::size_t>(end - begin)));
  for (; begin != end && found.size() < count; ++begin) {
    if (!std::isnan(*begin)) {
      found.push_back(*begin);
    }
  }
  return found;
}

// A parameter of a single row is a table too: positions and class tokens are made as {1, length, width}.
bool is_table(const ParameterFacts& facts) {
  std::string name = facts.name;
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  const bool named = std::any_of(std::begin(kTableNames), std::end(kTableNames),
                                 [&name](const char* part) { return name.find(part) != std::string::npos; });
  return facts.table || named || (facts.shape.size() > 2 && facts.shape[0] == 1);
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
  for (std::size_t kind = 0; kind < kKinds; ++kind) {
    if (is(static_cast<Kind>(kind), record)) {
      by_kind_[kind].push_back(record.reading.get());
    }
  }
  steps_.push_back(std::move(record));
  if (steps_.size() > kKeptSteps) {
    for (std::size_t kind = 0; kind < kKinds; ++kind) {
      if (is(static_cast<Kind>(kind), steps_.front())) {
        by_kind_[kind].pop_front();
      }
    }
    steps_.pop_front();
  }
}

bool History::is(Kind kind, const StepRecord& record) {
  if (!record.reading) {
    return false;
  }
  const StepReading& reading = *record.reading;
  switch (kind) {
    case kActivations:
      return !reading.activations.empty();
    case kLossPath:
      return !reading.loss_path.empty();
    case kBatchNorms:
      return !reading.batch_norms.empty();
    case kAverage:
      return reading.ema_distance >= 0;
    case kUpdate:
      return !record.info.skipped && !reading.parameters.empty();
    case kBatch:
      return reading.batch != nullptr;
    default:
      return true;
  }
}

std::vector<const StepReading*> History::newest(Kind kind, std::size_t count) const {
  const Readings& all = by_kind_[kind];
  return {all.end() - static_cast<std::ptrdiff_t>(std::min(count, all.size())), all.end()};
}

std::vector<const StepReading*> History::readings(std::size_t count) const { return newest(kAny, count); }

std::vector<const StepReading*> History::readings_with_activations(std::size_t count) const {
  return newest(kActivations, count);
}

std::vector<const StepReading*> History::readings_with_loss_path(std::size_t count) const {
  return newest(kLossPath, count);
}

std::vector<const StepReading*> History::readings_with_batch_norms(std::size_t count) const {
  return newest(kBatchNorms, count);
}

std::vector<const StepReading*> History::readings_with_average(std::size_t count) const {
  return newest(kAverage, count);
}

std::vector<const StepReading*> History::readings_of_updates(std::size_t count) const { return newest(kUpdate, count); }

std::vector<const StepReading*> History::readings_with_batch(std::size_t count) const { return newest(kBatch, count); }

std::vector<const BatchReading*> History::batches(std::size_t count) const {
  std::vector<const BatchReading*> found;
  for (const StepReading* reading : readings_with_batch(count)) {
    found.push_back(reading->batch.get());
  }
  return found;
}

std::vector<double> History::recent_losses(std::size_t count) const {
  std::vector<double> found = numbers_of(losses.rbegin(), losses.rend(), count);
  std::reverse(found.begin(), found.end());
  return found;
}

std::vector<double> History::first_losses(std::size_t count) const {
  return numbers_of(losses.begin(), losses.end(), count);
}

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  std::size_t count = 0;
  for (const double value : values) {
    if (!std::isnan(value)) {
      sum += value;
      ++count;
    }
  }
  return count == 0 ? kNotMeasured : sum / static_cast<double>(count);
}

double median_of(std::vector<double> values) {
  std::erase_if(values, [](double value) { return std::isnan(value); });
  if (values.empty()) {
    return kNotMeasured;
  }
  const auto middle = values.begin() + std::ssize(values) / 2;
  std::nth_element(values.begin(), middle, values.end());
  return values.size() % 2 == 1 ? *middle : 0.5 * (*std::max_element(values.begin(), middle) + *middle);
}

double robust_deviation(const std::vector<double>& values) {
  const double middle = median_of(values);
  std::vector<double> distances(values.size());
  std::transform(values.begin(), values.end(), distances.begin(), [middle](double x) { return std::abs(x - middle); });
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
  const std::size_t last = history.steps().size() - 1;
  return history.now().info.lr > 1.000001 * history.steps()[last - std::min(last, steps)].info.lr;
}

bool has_nonfinite_gradient(const ParameterReading& reading) { return reading.grad_nans > 0 || reading.grad_infs > 0; }

bool spoilt_before(const History& history, std::int64_t step) {
  const auto shown = [](const ParameterReading& seen) { return seen.grad_norm >= 0 || has_nonfinite_gradient(seen); };
  const auto& steps = history.steps();
  for (auto record = steps.rbegin(); record != steps.rend() && record->info.step > history.restored_at; ++record) {
    if (record->info.step >= step || record->info.skipped) {
      continue;
    }
    const StepReading* reading = record->reading.get();
    if (reading != nullptr && reading->gradients_read && std::ranges::any_of(reading->parameters, shown)) {
      return std::ranges::any_of(reading->parameters, has_nonfinite_gradient);
    }
    if (record->info.loss_told) {
      return !std::isfinite(record->info.loss);
    }
  }
  return false;
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
