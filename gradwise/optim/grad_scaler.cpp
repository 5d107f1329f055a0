#include "gradwise/optim/grad_scaler.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_amp_foreach_non_finite_check_and_unscale.h>
#include <ATen/ops/_amp_update_scale.h>
#include <ATen/ops/full.h>

#include <utility>

#include "gradwise/core/error.h"

namespace gradwise {

GradScaler::GradScaler(GradScalerOptions options) : options_(options) {
  check_fields("scaler", options_);
  scale_ = at::full({}, options_.init_scale, at::kFloat);
  growth_tracker_ = at::full({}, 0, at::kInt);
  found_inf_ = at::full({}, 0, at::kFloat);
}

void GradScaler::place_on(at::Device device) {
  if (scale_.device() != device) {
    scale_ = scale_.to(device);
    growth_tracker_ = growth_tracker_.to(device);
    found_inf_ = found_inf_.to(device);
  }
}

at::Tensor GradScaler::scale(const at::Tensor& loss) {
  place_on(loss.device());
  return loss.mul(scale_);
}

bool GradScaler::unscale(const std::vector<at::Tensor>& gradients) {
  const at::NoGradGuard no_grad;
  GRADWISE_CHECK(!unscaled_, "scaler", "unscale was called twice without update between");
  if (!gradients.empty()) {
    place_on(gradients.front().device());
    // In double, as torch does: the float32 reciprocal of a float32 scale may be off by one unit in the last place.
    const at::Tensor inverse = scale_.to(at::kDouble).reciprocal().to(at::kFloat);
    std::vector<at::Tensor> dense;
    dense.reserve(gradients.size());
    for (const at::Tensor& gradient : gradients) {
      dense.push_back(gradient.is_sparse() ? gradient._values() : gradient);
    }
    at::_amp_foreach_non_finite_check_and_unscale_(dense, found_inf_, inverse);
  }
  unscaled_ = true;
  return found_inf_.item<float>() == 0;
}

void GradScaler::note_unscaled(bool finite) {
  GRADWISE_CHECK(!unscaled_, "scaler", "unscale was called twice without update between");
  found_inf_.fill_(finite ? 0 : 1);
  unscaled_ = true;
}

void GradScaler::update() {
  const at::NoGradGuard no_grad;
  GRADWISE_CHECK(std::exchange(unscaled_, false), "scaler", "update was called without unscale before");
  at::_amp_update_scale_(scale_, growth_tracker_, found_inf_, options_.growth_factor, options_.backoff_factor,
                         options_.growth_interval);
  found_inf_.zero_();
}

void GradScaler::drop_unscaled() {
  if (std::exchange(unscaled_, false)) {
    found_inf_.zero_();
  }
}

double GradScaler::get_scale() const { return scale_.item<float>(); }

std::int64_t GradScaler::growth_tracker() const { return growth_tracker_.item<int>(); }

State GradScaler::state() const {
  State saved;
  saved.values = {{"scale", get_scale()},
                  {"growth_factor", options_.growth_factor},
                  {"backoff_factor", options_.backoff_factor},
                  {"growth_interval", options_.growth_interval},
                  {"_growth_tracker", growth_tracker()}};
  return saved;
}

void GradScaler::load_state(const State& state) {
  options_.growth_factor = state.values.at("growth_factor").get<double>();
  options_.backoff_factor = state.values.at("backoff_factor").get<double>();
  options_.growth_interval = state.values.at("growth_interval").get<std::int64_t>();
  scale_.fill_(state.values.at("scale").get<double>());
  growth_tracker_.fill_(state.values.at("_growth_tracker").get<std::int64_t>());
  found_inf_.zero_();
  unscaled_ = false;
}

}  // namespace gradwise
