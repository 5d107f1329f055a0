#include "gradwise/optim/autograd_optimizer.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_copy.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/scalar_tensor.h>
#include <torch/optim/optimizer.h>

#include <chrono>
#include <cmath>
#include <set>

#include "gradwise/core/error.h"
#include "gradwise/optim/autocast.h"
#include "gradwise/optim/guarded_forward.h"
#include "gradwise/optim/scalar_readings.h"
#include "gradwise/optim/torch_optimizers.h"
#include "gradwise/optim/weight_statistics.h"

namespace gradwise {
namespace {

using Clock = std::chrono::steady_clock;

// Adds the time since construction or the last call to a figure.
class PhaseClock {
 public:
  void add_to(double& seconds) {
    const Clock::time_point now = Clock::now();
    seconds += std::chrono::duration<double>(now - last_).count();
    last_ = now;
  }

 private:
  Clock::time_point last_ = Clock::now();
};

at::ScalarType precision_type(const std::string& name) {
  if (name == "bfloat16") {
    return at::kBFloat16;
  }
  return name == "float16" ? at::kHalf : at::kFloat;
}

// Thrown through LBFGS's line search when an evaluation is not finite.
struct NonfiniteEvaluation {};

bool holds_nonfinite(const at::Tensor& tensor) {
  const at::Tensor values = tensor.is_sparse() ? tensor._values() : tensor;
  return !values.isfinite().all().item<bool>();
}

}  // namespace

struct AutogradOptimizer::Impl {
  struct MicroBatch {
    LossFunction loss_function;
    Batch batch;
    double weight;
  };

  Impl(Model m, std::unique_ptr<torch::optim::Optimizer> o, AutogradOptimizerOptions given)
      : model(std::move(m)),
        trainable(model.parameters.trainable()),
        optimizer(std::move(o)),
        options(std::move(given)),
        scaler(options.scaler),
        dtype(precision_type(options.precision)),
        closure_driven(needs_closure(*optimizer)) {
    check_fields("optimizer", options);
    GRADWISE_CHECK(trainable.size() > 0, "optimizer", "none of the ", model.parameters.size(),
                   " parameters asks for a gradient");
    GRADWISE_CHECK(!closure_driven || dtype == at::kFloat, "optimizer", "lbfgs needs precision \"float32\", it is \"",
                   options.precision, "\"");
    for (const at::Tensor& buffer : model.buffers.tensors) {
      if (buffer.is_floating_point()) {
        guarded_buffers.push_back(buffer);
        buffer_copies.push_back(buffer.detach().clone());
      }
    }
  }

  [[nodiscard]] bool scaling() const { return dtype == at::kHalf; }

  at::Tensor forward_backward(const LossFunction& loss_function, const Batch& batch, double weight);
  void remember_buffers();
  void collect_gradients();
  void note_missing_gradients(StepInfo& info);
  void clear_gradients();
  void read_window(StepInfo& info, const at::Tensor& norm);
  [[nodiscard]] bool gradients_finite(StepInfo& info, bool unscaled_finite);
  void refuse_nonfinite(StepInfo& info);
  double clip(double norm, const std::optional<ClipRequest>& request, bool& clipped);
  void update_by_gradients(StepInfo& info, const std::optional<ClipRequest>& request);
  void update_by_closure(StepInfo& info);
  at::Tensor evaluate_window(StepInfo& info);
  void end_window(StepInfo& info);
  StepInfo finish(const std::optional<ClipRequest>& request);

  Model model;
  NamedParameters trainable;
  std::unique_ptr<torch::optim::Optimizer> optimizer;
  AutogradOptimizerOptions options;
  GradScaler scaler;
  at::ScalarType dtype;
  bool closure_driven;

  // The window of micro-batches under way.
  std::int64_t micro_batches = 0;
  std::int64_t samples = 0;
  double expected_samples = 0;
  std::vector<at::Tensor> losses;
  std::vector<double> loss_samples;
  std::vector<MicroBatch> kept;  // for closures
  StepTimes seconds;

  std::vector<at::Tensor> gradients;            // of this step, in the order of `with_gradient`
  std::vector<at::Tensor> with_gradient;        // parameters that have one
  std::vector<std::size_t> with_gradient_index;  // and their place in `trainable`
  std::vector<at::Tensor> guarded_buffers;
  std::vector<at::Tensor> buffer_copies;  // as of the window's start
  WeightStatistics weight_statistics;
  std::vector<std::string> missing;
  std::set<std::string> told;
  std::int64_t steps = 0;
  std::int64_t skipped = 0;
};

at::Tensor AutogradOptimizer::Impl::forward_backward(const LossFunction& loss_function, const Batch& batch,
                                                     double weight) {
  PhaseClock clock;
  at::Tensor loss;
  {
    const AutocastScope autocast(batch.input.device().type(), dtype);
    loss = guarded_loss(loss_function, guarded_forward(model, batch), batch.target);
  }
  clock.add_to(seconds.forward);
  GRADWISE_CHECK(loss.requires_grad(), "loss", "the loss does not depend on any parameter that asks for a gradient");
  const at::Tensor root = scaling() ? scaler.scale(loss) : loss;
  if (weight == 1.0) {
    root.backward();
  } else {
    root.backward(at::scalar_tensor(weight, root.options()).expand_as(root));
  }
  clock.add_to(seconds.backward);
  return loss.detach();
}

// A forward pass over a bad batch spoils the statistics of batch norm before anyone can know.
void AutogradOptimizer::Impl::remember_buffers() {
  if (!guarded_buffers.empty() && options.on_nonfinite == "skip") {
    const at::NoGradGuard no_grad;
    at::_foreach_copy_(buffer_copies, guarded_buffers);
  }
}

void AutogradOptimizer::Impl::collect_gradients() {
  gradients.clear();
  with_gradient.clear();
  with_gradient_index.clear();
  missing.clear();
  for (std::size_t i = 0; i < trainable.size(); ++i) {
    const at::Tensor& gradient = trainable.tensors[i].grad();
    if (gradient.defined()) {
      gradients.push_back(gradient);
      with_gradient.push_back(trainable.tensors[i]);
      with_gradient_index.push_back(i);
    } else {
      missing.push_back(trainable.names[i]);
    }
  }
}

void AutogradOptimizer::Impl::note_missing_gradients(StepInfo& info) {
  for (const std::string& name : missing) {
    if (told.insert(name).second) {
      Issue issue;
      issue.rule = "no_gradient";
      issue.layer = name;
      issue.step = info.step;
      issue.message = "parameter \"" + name + "\" got no gradient: the loss does not depend on it";
      issue.advice = "use it in the forward pass, or set requires_grad to false";
      info.issues.push_back(std::move(issue));
    }
  }
}

void AutogradOptimizer::Impl::clear_gradients() {
  for (const at::Tensor& parameter : trainable.tensors) {
    at::Tensor(parameter).mutable_grad().reset();
  }
  gradients.clear();
}

// Loss and norm reach the host together.
void AutogradOptimizer::Impl::read_window(StepInfo& info, const at::Tensor& norm) {
  losses.push_back(norm.to(losses.empty() ? norm.device() : losses.front().device()));
  const std::vector<double> values = read_scalars(losses);
  losses.pop_back();
  info.grad_norm = values.back();
  double sum = 0;
  for (std::size_t i = 0; i + 1 < values.size(); ++i) {
    sum += values[i] * loss_samples[i];
  }
  info.loss = sum / static_cast<double>(samples);
}

// A norm can overflow though every element is finite; only then are the elements looked at.
bool AutogradOptimizer::Impl::gradients_finite(StepInfo& info, bool unscaled_finite) {
  if (unscaled_finite && std::isfinite(info.grad_norm)) {
    return true;
  }
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    if (holds_nonfinite(gradients[i])) {
      Issue issue;
      issue.rule = "nonfinite_gradient";
      issue.severity = scaling() ? Issue::Severity::info : Issue::Severity::error;
      issue.layer = trainable.names[with_gradient_index[i]];
      issue.step = info.step;
      issue.value = info.grad_norm;
      issue.message = "the gradient of \"" + issue.layer + "\" holds inf or NaN";
      issue.advice = scaling() ? "the loss scale backs off; nothing to do unless it goes on"
                               : "lower the learning rate, clip gradients, or look for a bad input";
      info.issues.push_back(std::move(issue));
      return false;
    }
  }
  std::vector<at::Tensor> wide;
  for (const at::Tensor& gradient : gradients) {
    wide.push_back(gradient.to(at::kDouble));
  }
  info.grad_norm = global_norm(wide).item<double>();
  return true;
}

void AutogradOptimizer::Impl::refuse_nonfinite(StepInfo& info) {
  if (options.on_nonfinite == "raise") {
    const Issue found = info.issues.back();
    clear_gradients();
    end_window(info);
    fail("optimizer", found.message, " in step ", info.step, "; loss is ", info.loss, "; ", found.advice);
  }
  info.skipped = true;
  info.grad_norm_clipped = info.grad_norm;
  const at::NoGradGuard no_grad;
  if (!guarded_buffers.empty() && options.on_nonfinite == "skip") {
    at::_foreach_copy_(guarded_buffers, buffer_copies);
  }
}

double AutogradOptimizer::Impl::clip(double norm, const std::optional<ClipRequest>& request, bool& clipped) {
  const ClipOptions& how = options.clip;
  if (gradients.empty() || how.method == "none" || (request && !request->clip_gradients)) {
    return norm;
  }
  if (how.method == "norm") {
    const double max_norm = request ? request->max_grad_norm : how.max_norm;
    GRADWISE_CHECK(max_norm > 0, "clip", "max_grad_norm is ", max_norm, ", allowed: > 0");
    clipped = clip_by_norm(gradients, norm, max_norm);
    return clipped ? norm * (max_norm / (norm + 1e-6)) : norm;
  }
  if (how.method == "value") {
    clip_by_value(gradients, how.max_value);
  } else {
    clip_adaptively(with_gradient, gradients, how.agc_lambda, how.agc_eps);
  }
  const double after = read_scalars({global_norm(gradients)}).front();
  clipped = after < norm;
  return after;
}

void AutogradOptimizer::Impl::update_by_gradients(StepInfo& info, const std::optional<ClipRequest>& request) {
  PhaseClock clock;
  collect_gradients();
  note_missing_gradients(info);
  const bool unscaled_finite = !scaling() || scaler.unscale(gradients);
  const double shortfall = expected_samples / static_cast<double>(samples);
  if (shortfall != 1.0 && !gradients.empty()) {
    const at::NoGradGuard no_grad;
    at::_foreach_mul_(gradients, shortfall);
  }
  read_window(info, global_norm(gradients));
  info.loss_scale = scaling() ? scaler.get_scale() : 1.0;
  const bool finite = gradients_finite(info, unscaled_finite);
  if (!finite && (scaling() || options.on_nonfinite != "ignore")) {
    refuse_nonfinite(info);
  } else {
    info.grad_norm_clipped = clip(info.grad_norm, request, info.clipped);
  }
  clock.add_to(seconds.clip);
  if (!info.skipped) {
    const bool measure = options.weight_statistics_every > 0 && info.step % options.weight_statistics_every == 0;
    if (measure) {
      weight_statistics.before_update(trainable.tensors);
    }
    optimizer->step();
    if (measure) {
      weight_statistics.after_update(trainable.tensors, info);
    }
  }
  if (scaling()) {
    scaler.update();
  }
  clear_gradients();
  clock.add_to(seconds.update);
}

// One evaluation of the window for a line search. Its first one is what the step reports.
at::Tensor AutogradOptimizer::Impl::evaluate_window(StepInfo& info) {
  clear_gradients();
  losses.clear();
  const double shortfall = expected_samples / static_cast<double>(samples);
  at::Tensor total;
  for (const MicroBatch& micro : kept) {
    losses.push_back(forward_backward(micro.loss_function, micro.batch, micro.weight * shortfall));
    const at::Tensor share = losses.back().mul(micro.weight * shortfall);
    total = total.defined() ? total.add(share) : share;
  }
  collect_gradients();
  StepInfo here;
  here.step = info.step;
  read_window(here, global_norm(gradients));
  if ((!gradients_finite(here, true) || !std::isfinite(here.loss)) && options.on_nonfinite != "ignore") {
    if (here.issues.empty()) {
      Issue issue;
      issue.rule = "nonfinite_loss";
      issue.step = info.step;
      issue.message = "the loss is not finite";
      issue.advice = "lower the learning rate or look for a bad input";
      here.issues.push_back(std::move(issue));
    }
    info.issues.insert(info.issues.end(), here.issues.begin(), here.issues.end());
    throw NonfiniteEvaluation{};
  }
  if (std::isnan(info.loss)) {
    info.loss = here.loss;
    info.grad_norm = info.grad_norm_clipped = here.grad_norm;
    note_missing_gradients(info);
  }
  return total;
}

// LBFGS: nothing is clipped, for its line search needs the true gradient.
void AutogradOptimizer::Impl::update_by_closure(StepInfo& info) {
  PhaseClock clock;
  weight_statistics.before_update(trainable.tensors);
  std::vector<at::Tensor> parameters_before;
  for (const at::Tensor& parameter : trainable.tensors) {
    parameters_before.push_back(parameter.detach().clone());
  }
  try {
    optimizer->step([this, &info] { return evaluate_window(info); });
    weight_statistics.after_update(trainable.tensors, info);
  } catch (const NonfiniteEvaluation&) {
    const at::NoGradGuard no_grad;
    at::_foreach_copy_(trainable.tensors, parameters_before);
    optimizer->state().clear();  // its history may hold the bad evaluation
    refuse_nonfinite(info);
  }
  clear_gradients();
  double outside = 0;
  clock.add_to(outside);
  seconds.update += outside - seconds.forward - seconds.backward;
}

void AutogradOptimizer::Impl::end_window(StepInfo& info) {
  ++steps;
  skipped += info.skipped ? 1 : 0;
  info.skipped_in_all = skipped;
  info.samples = samples;
  info.micro_batches = micro_batches;
  seconds.total = seconds.forward + seconds.backward + seconds.clip + seconds.update;
  info.seconds = seconds;
  micro_batches = samples = 0;
  losses.clear();
  loss_samples.clear();
  kept.clear();
  seconds = {};
}

StepInfo AutogradOptimizer::Impl::finish(const std::optional<ClipRequest>& request) {
  GRADWISE_CHECK(micro_batches > 0, "optimizer", "finish_step was called before any accumulate");
  StepInfo info;
  info.step = steps + 1;
  info.lr = optimizer->param_groups().front().options().get_lr();
  if (closure_driven) {
    update_by_closure(info);
  } else {
    update_by_gradients(info, request);
  }
  end_window(info);
  return info;
}

AutogradOptimizer::AutogradOptimizer(Model model, OptimizerOptions optimizer, AutogradOptimizerOptions options)
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
  accumulate(loss_function, {.input = input_data, .target = target_data, .extra = {}});
  return finish_step(clip);
}

void AutogradOptimizer::accumulate(const LossFunction& loss_function, const Batch& batch, std::int64_t window) {
  GRADWISE_CHECK(window >= 1, "optimizer", "window is ", window, ", allowed: >= 1");
  GRADWISE_CHECK(batch.input.defined() && batch.size() > 0, "optimizer", "the batch is empty");
  Impl& self = *impl_;
  const std::int64_t size = batch.size();
  if (self.micro_batches == 0) {
    self.expected_samples = static_cast<double>(size * window);
    self.remember_buffers();
  }
  const double weight = static_cast<double>(size) / self.expected_samples;
  if (self.closure_driven) {
    self.kept.push_back({loss_function, batch, weight});
  } else {
    self.losses.push_back(self.forward_backward(loss_function, batch, weight));
  }
  self.loss_samples.push_back(static_cast<double>(size));
  self.samples += size;
  ++self.micro_batches;
}

StepInfo AutogradOptimizer::finish_step(std::optional<ClipRequest> clip) { return impl_->finish(clip); }

StepInfo AutogradOptimizer::abandon_step() {
  Impl& self = *impl_;
  GRADWISE_CHECK(self.micro_batches > 0, "optimizer", "abandon_step was called before any accumulate");
  StepInfo info;
  info.step = self.steps + 1;
  info.lr = self.optimizer->param_groups().front().options().get_lr();
  info.skipped = true;
  if (!self.closure_driven) {
    self.collect_gradients();
    self.read_window(info, global_norm(self.gradients));
  }
  self.clear_gradients();
  self.end_window(info);
  return info;
}

std::vector<Rate> AutogradOptimizer::rates() const {
  std::vector<Rate> rates;
  for (const torch::optim::OptimizerParamGroup& group : impl_->optimizer->param_groups()) {
    const double lr = group.options().get_lr();
    rates.push_back({.lr = lr, .initial_lr = kUnset, .momentum = momentum_of(group.options())});
  }
  return rates;
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
  State saved;
  saved.nest("optimizer", optimizer_state(*impl_->optimizer, impl_->trainable));
  saved.nest("scaler", impl_->scaler.state());
  saved.values["steps"] = impl_->steps;
  saved.values["skipped"] = impl_->skipped;
  saved.values["told"] = impl_->told;
  return saved;
}

void AutogradOptimizer::load_state(const State& state) {
  load_optimizer_state(*impl_->optimizer, impl_->trainable, state.nested("optimizer"));
  impl_->scaler.load_state(state.nested("scaler"));
  impl_->steps = state.values.at("steps").get<std::int64_t>();
  impl_->skipped = state.values.at("skipped").get<std::int64_t>();
  impl_->told = state.values.at("told").get<std::set<std::string>>();
}

}  // namespace gradwise
