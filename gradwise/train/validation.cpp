#include <ATen/core/grad_mode.h>

#include <chrono>

#include "gradwise/core/error.h"
#include "gradwise/optim/autocast.h"
#include "gradwise/optim/guarded_forward.h"
#include "gradwise/train/loop_impl.h"
#include "gradwise/train/metrics.h"

namespace gradwise {

double ValidationStats::metric(const std::string& name) const {
  std::string known;
  for (const auto& [key, value] : metrics) {
    if (key == name) {
      return value;
    }
    known += (known.empty() ? "" : ", ") + key;
  }
  fail_usage("validation", "there is no metric \"", name,
             "\", allowed: ", known.empty() ? "(none were asked for)" : known);
}

double AutogradTrainingLoop::Impl::monitored(const ValidationStats& stats) const {
  return options.monitor == "loss" ? stats.validation_loss : stats.metric(options.monitor);
}

ValidationStats AutogradTrainingLoop::Impl::validate(BatchSource& source, const LossFunction& loss, at::Device device) {
  const auto start = std::chrono::steady_clock::now();
  place_on(device);
  const TrainingModeGuard evaluation(optimizer.model(), false);
  const at::NoGradGuard no_grad;
  std::optional<ExponentialMovingAverage::Scope> averaged;
  if (average && average->num_updates() > 0) {
    averaged.emplace(*average);
  }
  std::vector<std::unique_ptr<Metric>> metrics;
  for (const std::string& name : options.metrics) {
    metrics.push_back(make_metric(name));
  }
  const at::ScalarType dtype = precision_type(options.step.precision);
  ValidationStats stats;
  double loss_sum = 0;
  Batch batch;
  source.start(0, 0);
  while (source.next(batch)) {
    const AutocastScope autocast(device.type(), dtype);
    move_batch(batch, device);
    const at::Tensor output = guarded_forward(optimizer.model(), batch);
    loss_sum += guarded_loss(loss, output, batch.target).item<double>() * static_cast<double>(batch.size());
    const bool scaled = !options.target_scaling.empty();
    const at::Tensor predicted = scaled ? in_own_units(output, options.target_scaling) : output;
    const at::Tensor wanted = scaled ? in_own_units(batch.target, options.target_scaling) : batch.target;
    for (const std::unique_ptr<Metric>& metric : metrics) {
      metric->update(predicted, wanted);
    }
    stats.samples += batch.size();
  }
  GRADWISE_CHECK(stats.samples > 0, "validation", "the validation data is empty");
  stats.validation_loss = loss_sum / static_cast<double>(stats.samples);
  for (std::size_t i = 0; i < metrics.size(); ++i) {
    stats.metrics.emplace_back(options.metrics[i], metrics[i]->value());
  }
  stats.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return stats;
}

}  // namespace gradwise
