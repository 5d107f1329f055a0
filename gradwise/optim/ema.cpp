#include "gradwise/optim/ema.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_copy.h>
#include <ATen/ops/_foreach_lerp.h>

#include <algorithm>
#include <utility>

#include "gradwise/core/error.h"

namespace gradwise {
namespace {

std::vector<at::Tensor> clones(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> copies;
  copies.reserve(tensors.size());
  for (const at::Tensor& tensor : tensors) {
    copies.push_back(tensor.detach().clone());
  }
  return copies;
}

// `tensors` in the types and on the devices of `like`.
std::vector<at::Tensor> converted(const std::vector<at::Tensor>& tensors, const std::vector<at::Tensor>& like) {
  std::vector<at::Tensor> result;
  result.reserve(tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    result.push_back(tensors[i].detach().to(like[i].options()));
  }
  return result;
}

void write_into(const std::vector<at::Tensor>& targets, const std::vector<at::Tensor>& values) {
  const at::NoGradGuard no_grad;
  if (!targets.empty()) {
    at::_foreach_copy_(targets, values);
  }
}

void load_tensors(const State& state, const std::vector<std::string>& names, std::vector<at::Tensor>& into) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto found = state.tensors.find(names[i]);
    GRADWISE_CHECK(found != state.tensors.end(), "ema", "the saved average has no \"", names[i], "\"");
    GRADWISE_CHECK(found->second.sizes() == into[i].sizes(), "ema", "the saved average of \"", names[i],
                   "\" has shape ", found->second.sizes(), ", the model's ", into[i].sizes());
    into[i].copy_(found->second);
  }
}

}  // namespace

double average_decay(const EmaOptions& options, std::int64_t update) {
  if (!options.warmup) {
    return options.decay;
  }
  const auto n = static_cast<double>(update);
  return std::min(options.decay, (1.0 + n) / (10.0 + n));
}

void move_averages(const std::vector<at::Tensor>& averages, const std::vector<at::Tensor>& values, double share) {
  GRADWISE_CHECK(averages.size() == values.size(), "ema", "there are ", averages.size(), " averages for ",
                 values.size(), " tensors");
  if (averages.empty()) {
    return;
  }
  const at::NoGradGuard no_grad;
  bool moved = false;
  for (std::size_t i = 0; i < averages.size(); ++i) {
    moved = moved || averages[i].scalar_type() != values[i].scalar_type() || averages[i].device() != values[i].device();
  }
  at::_foreach_lerp_(averages, moved ? converted(values, averages) : values, share);
}

ExponentialMovingAverage::ExponentialMovingAverage(const NamedParameters& parameters, EmaOptions options,
                                                   const NamedParameters& buffers)
    : options_(options), sources_(parameters.trainable()), parameters_(sources_.size()) {
  check_fields("ema", options_);
  GRADWISE_CHECK(sources_.size() > 0, "ema", "none of the ", parameters.size(), " parameters asks for a gradient");
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    (buffers.tensors[i].is_floating_point() ? sources_ : counters_).add(buffers.names[i], buffers.tensors[i]);
  }
  shadow_ = clones(sources_.tensors);
  counter_shadow_ = clones(counters_.tensors);
  if (options_.bias_correction) {
    for (at::Tensor& average : shadow_) {
      average.zero_();
    }
  }
}

double ExponentialMovingAverage::begin_update() {
  due_ = ++since_update_ >= options_.every;
  if (!due_) {
    return share_ = 0;
  }
  since_update_ = 0;
  ++num_updates_;
  const double decay = average_decay(options_, num_updates_);
  decay_product_ *= decay;
  return share_ = 1.0 - decay;
}

void ExponentialMovingAverage::finish_update() {
  if (due_) {
    move_from(parameters_, share_);
    write_into(counter_shadow_, counters_.tensors);
  }
}

void ExponentialMovingAverage::update() {
  const double share = begin_update();
  if (due_) {
    move_from(0, share);
    write_into(counter_shadow_, counters_.tensors);
  }
}

void ExponentialMovingAverage::move_from(std::size_t first, double share) {
  const auto begin = static_cast<std::ptrdiff_t>(first);
  move_averages({shadow_.begin() + begin, shadow_.end()}, {sources_.tensors.begin() + begin, sources_.tensors.end()},
                share);
}

std::vector<at::Tensor> ExponentialMovingAverage::parameter_averages() const {
  return {shadow_.begin(), shadow_.begin() + static_cast<std::ptrdiff_t>(parameters_)};
}

std::vector<at::Tensor> ExponentialMovingAverage::averaged_parameters() const {
  return {sources_.tensors.begin(), sources_.tensors.begin() + static_cast<std::ptrdiff_t>(parameters_)};
}

NamedParameters ExponentialMovingAverage::averages() const {
  const at::NoGradGuard no_grad;
  NamedParameters result{sources_.names, shadow_};
  if (options_.bias_correction) {
    GRADWISE_CHECK(num_updates_ > 0, "ema", "a bias-corrected average needs at least one update");
    for (at::Tensor& average : result.tensors) {
      average = average.div(1.0 - decay_product_);
    }
  }
  for (std::size_t i = 0; i < counters_.size(); ++i) {
    result.add(counters_.names[i], counter_shadow_[i]);
  }
  return result;
}

void ExponentialMovingAverage::copy_to() const {
  const NamedParameters values = averages();
  const auto split = values.tensors.begin() + static_cast<std::ptrdiff_t>(sources_.size());
  write_into(sources_.tensors, {values.tensors.begin(), split});
  write_into(counters_.tensors, {split, values.tensors.end()});
}

void ExponentialMovingAverage::store() {
  stored_ = clones(sources_.tensors);
  const std::vector<at::Tensor> counters = clones(counters_.tensors);
  stored_.insert(stored_.end(), counters.begin(), counters.end());
}

void ExponentialMovingAverage::restore() {
  GRADWISE_CHECK(!stored_.empty(), "ema", "restore was called without store");
  const auto split = stored_.begin() + static_cast<std::ptrdiff_t>(sources_.size());
  write_into(sources_.tensors, {stored_.begin(), split});
  write_into(counters_.tensors, {split, stored_.end()});
  stored_.clear();
}

ExponentialMovingAverage::Scope::Scope(ExponentialMovingAverage& ema) : ema_(&ema) {
  // A `store` of the caller's own must survive the scope.
  std::vector<at::Tensor> callers = std::exchange(ema.stored_, {});
  ema.store();
  kept_ = std::exchange(ema.stored_, std::move(callers));
  ema.copy_to();
}

ExponentialMovingAverage::Scope::~Scope() {
  if (ema_ != nullptr) {
    std::swap(ema_->stored_, kept_);
    ema_->restore();
    ema_->stored_ = std::move(kept_);
  }
}

State ExponentialMovingAverage::state() const {
  State saved;
  saved.values = {{"decay", options_.decay},
                  {"every", options_.every},
                  {"steps_since_update", since_update_},
                  {"warmup", options_.warmup},
                  {"bias_correction", options_.bias_correction},
                  {"num_updates", num_updates_},
                  {"decay_product", decay_product_}};
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    saved.tensors[sources_.names[i]] = shadow_[i];
  }
  for (std::size_t i = 0; i < counters_.size(); ++i) {
    saved.tensors[counters_.names[i]] = counter_shadow_[i];
  }
  return saved;
}

void ExponentialMovingAverage::load_state(const State& state) {
  const at::NoGradGuard no_grad;
  load_tensors(state, sources_.names, shadow_);
  load_tensors(state, counters_.names, counter_shadow_);
  options_.decay = state.values.at("decay").get<double>();
  options_.every = state.values.value("every", std::int64_t{1});  // may be missing
  since_update_ = state.values.value("steps_since_update", std::int64_t{0});
  options_.warmup = state.values.at("warmup").get<bool>();
  options_.bias_correction = state.values.at("bias_correction").get<bool>();
  num_updates_ = state.values.at("num_updates").get<std::int64_t>();
  decay_product_ = state.values.at("decay_product").get<double>();
}

void ExponentialMovingAverage::to(at::Device device) {
  ++moves_;
  for (at::Tensor& average : shadow_) {
    average = average.to(device);
  }
  for (at::Tensor& counter : counter_shadow_) {
    counter = counter.to(device);
  }
}

void ExponentialMovingAverage::to(at::ScalarType dtype) {
  ++moves_;
  for (at::Tensor& average : shadow_) {
    average = average.to(dtype);
  }
}

}  // namespace gradwise
