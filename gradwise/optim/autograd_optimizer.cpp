#include "gradwise/optim/autograd_optimizer.h"

#include <algorithm>
#include <utility>

#include "gradwise/core/error.h"
#include "gradwise/optim/autocast.h"
#include "gradwise/optim/autograd_optimizer_impl.h"
#include "gradwise/optim/torch_optimizers.h"

namespace gradwise {

AutogradOptimizer::Impl::Impl(Model m, std::unique_ptr<torch::optim::Optimizer> o, AutogradOptimizerOptions given)
    : model(std::move(m)),
      trainable(model.parameters.trainable()),
      optimizer(std::move(o)),
      options(std::move(given)),
      fused(dynamic_cast<FusedOptimizer*>(optimizer.get())),
      scaler(options.scaler),
      dtype(precision_type(options.precision)),
      closure_driven(needs_closure(*optimizer)) {
  check_fields("optimizer", options);
  GRADWISE_CHECK(trainable.size() > 0, "optimizer", "none of the ", model.parameters.size(),
                 " parameters asks for a gradient");
  trainable.check_types("optimizer");
  GRADWISE_CHECK(!closure_driven || dtype == at::kFloat, "optimizer",
                 "an optimizer that takes a closure needs precision \"float32\", it is \"", options.precision, "\"");
  for (const at::Tensor& parameter : model.parameters.tensors) {
    known.push_back(parameter.requires_grad());
  }
  place_fused();
  if (options.in_backward) {
    prepare_in_backward();
  }
  for (const at::Tensor& buffer : model.buffers.tensors) {
    if (buffer.is_floating_point()) {
      guarded_buffers.push_back(buffer);
      buffer_copies.push_back(buffer.detach().clone());
    }
  }
}

void AutogradOptimizer::Impl::place_fused() {
  fused_order.clear();
  if (fused == nullptr) {
    return;
  }
  const std::vector<at::Tensor>& known_to_model = model.parameters.tensors;
  for (const at::Tensor& parameter : fused->ordered_parameters()) {
    const auto found = std::ranges::find_if(known_to_model, [&](const at::Tensor& t) { return t.is_same(parameter); });
    GRADWISE_CHECK(found != known_to_model.end(), "optimizer",
                   "the optimizer holds a parameter that is none of the model's, of shape ", parameter.sizes());
    fused_order.push_back(static_cast<std::size_t>(found - known_to_model.begin()));
  }
  holds_all =
      std::ranges::all_of(trainable.tensors, [&](const at::Tensor& t) { return fused->place_of(t).has_value(); });
}

void AutogradOptimizer::Impl::take_unfrozen() {
  const std::size_t before = trainable.size();
  for (std::size_t i = 0; i < known.size(); ++i) {
    if (!known[i] && model.parameters.tensors[i].requires_grad()) {
      known[i] = true;
      trainable.add(model.parameters.names[i], model.parameters.tensors[i]);
    }
  }
  if (trainable.size() == before) {
    return;
  }
  place_fused();
  if (in_backward) {
    const State so_far = in_backward->state();
    in_backward.reset();
    prepare_in_backward();
    in_backward->load_state(so_far);
  }
}

AutogradOptimizer::AutogradOptimizer(const Model& model, const OptimizerOptions& optimizer,
                                     AutogradOptimizerOptions options)
    : AutogradOptimizer(model, make_optimizer(optimizer, model.parameters), std::move(options)) {}

AutogradOptimizer::AutogradOptimizer(Model model, std::unique_ptr<torch::optim::Optimizer> optimizer,
                                     AutogradOptimizerOptions options) {
  GRADWISE_CHECK(optimizer != nullptr, "optimizer", "the optimizer is a null pointer");
  impl_ = std::make_unique<Impl>(std::move(model), std::move(optimizer), std::move(options));
}

AutogradOptimizer::~AutogradOptimizer() = default;
AutogradOptimizer::AutogradOptimizer(AutogradOptimizer&&) noexcept = default;

StepInfo AutogradOptimizer::step(const LossFunction& loss_function, const at::Tensor& input_data,
                                 const at::Tensor& target_data, std::optional<ClipRequest> clip) {
  impl_->refuse_in_backward(clip);
  accumulate(loss_function, {.input = input_data, .target = target_data, .extra = {}});
  return finish_step(clip);
}

void AutogradOptimizer::accumulate(const LossFunction& loss_function, const Batch& batch, std::int64_t window) {
  GRADWISE_CHECK(window >= 1, "optimizer", "window is ", window, ", allowed: >= 1");
  GRADWISE_CHECK(batch.input.defined() && batch.size() > 0, "optimizer", "the batch is empty");
  Impl& self = *impl_;
  GRADWISE_CHECK(!self.in_backward || (window == 1 && self.micro_batches == 0), "optimizer",
                 "in_backward makes a step of each backward pass, allowed: windows of one micro-batch");
  const std::int64_t size = batch.size();
  if (self.micro_batches == 0) {
    self.take_unfrozen();
    self.expected_samples = static_cast<double>(size * window);
    self.remember_buffers();
  }
  const double weight = static_cast<double>(size) / self.expected_samples;
  if (self.closure_driven) {
    self.kept.push_back({loss_function, batch, weight});
  } else {
    try {
      self.losses.push_back(self.forward_backward(loss_function, batch, weight));
    } catch (...) {
      self.drop_window();
      throw;
    }
  }
  self.loss_samples.push_back(static_cast<double>(size));
  self.samples += size;
  ++self.micro_batches;
}

StepInfo AutogradOptimizer::finish_step(std::optional<ClipRequest> clip, double read_norm) {
  return impl_->finish(clip, read_norm);
}

StepInfo AutogradOptimizer::abandon_step() {
  Impl& self = *impl_;
  GRADWISE_CHECK(self.micro_batches > 0, "optimizer", "abandon_step was called before any accumulate");
  GRADWISE_CHECK(!self.in_backward, "optimizer",
                 "abandon_step comes too late: with in_backward the weights have moved already");
  StepInfo info;
  info.step = self.steps + 1;
  info.lr = self.optimizer->param_groups().front().options().get_lr();
  info.skipped = true;
  if (!self.closure_driven) {
    self.collect_gradients();
    self.read_window(info, global_norm(self.gradients));
    info.loss_scale = self.scaling() ? self.scaler.get_scale() : 1.0;
    info.grad_norm /= info.loss_scale;
  }
  if (self.fused != nullptr) {
    self.fused->measure_standing();
  }
  self.take_moments(info);
  self.end_window(info);
  return info;
}

void AutogradOptimizer::set_average(ExponentialMovingAverage* average) {
  impl_->average = average;
  impl_->take_averages();
}

bool AutogradOptimizer::measures_updates() const {
  return impl_->fused != nullptr && impl_->holds_all && impl_->fused->measures();
}

std::span<const WeightMoments> AutogradOptimizer::weight_moments() const { return impl_->moments; }

std::vector<Rate> AutogradOptimizer::rates() const {
  std::vector<Rate> rates;
  for (const torch::optim::OptimizerParamGroup& group : impl_->optimizer->param_groups()) {
    const double lr = group.options().get_lr();
    rates.push_back({.lr = lr, .initial_lr = kUnset, .momentum = momentum_of(group.options())});
  }
  return rates;
}

void AutogradOptimizer::on_forward(
    std::function<void(const Batch&, const at::Tensor& output, const at::Tensor& loss)> listener) {
  impl_->forward_listener = std::move(listener);
}

double AutogradOptimizer::gradient_scale() const {
  const double unscaled = impl_->scaling() ? 1.0 / impl_->scaler.get_scale() : 1.0;
  return impl_->samples > 0 ? impl_->shortfall() * unscaled : unscaled;
}

void AutogradOptimizer::set_rates(const std::vector<Rate>& rates) {
  std::vector<torch::optim::OptimizerParamGroup>& groups = impl_->optimizer->param_groups();
  GRADWISE_CHECK(rates.size() == groups.size(), "optimizer", "there are ", rates.size(), " rates for ", groups.size(),
                 " parameter groups");
  for (std::size_t i = 0; i < groups.size(); ++i) {
    groups[i].options().set_lr(rates[i].lr);
    set_momentum(groups[i].options(), rates[i].momentum);
  }
}

const Model& AutogradOptimizer::model() const { return impl_->model; }
torch::optim::Optimizer& AutogradOptimizer::torch_optimizer() { return *impl_->optimizer; }
std::int64_t AutogradOptimizer::steps() const { return impl_->steps; }
std::int64_t AutogradOptimizer::skipped_steps() const { return impl_->skipped; }
const std::vector<std::string>& AutogradOptimizer::parameters_without_gradient() const { return impl_->missing; }

State AutogradOptimizer::state() const {
  GRADWISE_CHECK(impl_->micro_batches == 0, "optimizer", "state was asked for between accumulate and finish_step");
  impl_->take_unfrozen();
  State saved;
  saved.nest("optimizer", optimizer_state(*impl_->optimizer, impl_->trainable));
  saved.nest("scaler", impl_->scaler.state());
  if (impl_->in_backward) {
    saved.nest("in_backward", impl_->in_backward->state());
  }
  saved.values["steps"] = impl_->steps;
  saved.values["skipped"] = impl_->skipped;
  saved.values["told"] = impl_->told;
  return saved;
}

void AutogradOptimizer::load_state(const State& state) {
  impl_->take_unfrozen();
  load_optimizer_state(*impl_->optimizer, impl_->trainable, state.nested("optimizer"));
  State scaler = state.nested("scaler");
  scaler.values["growth_factor"] = impl_->options.scaler.growth_factor;
  scaler.values["backoff_factor"] = impl_->options.scaler.backoff_factor;
  scaler.values["growth_interval"] = impl_->options.scaler.growth_interval;
  impl_->scaler.load_state(scaler);
  if (const State saved = state.nested("in_backward"); impl_->in_backward && !saved.values.empty()) {
    impl_->in_backward->load_state(saved);
  }
  impl_->steps = state.values.at("steps").get<std::int64_t>();
  impl_->skipped = state.values.at("skipped").get<std::int64_t>();
  impl_->told = state.values.at("told").get<std::set<std::string>>();
}

}  // namespace gradwise
