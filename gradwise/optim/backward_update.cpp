#include "gradwise/optim/backward_update.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "gradwise/core/error.h"
#include "gradwise/optim/clipping.h"
#include "gradwise/optim/fused_optimizer.h"
#include "gradwise/optim/gradient_pass.h"
#include "gradwise/optim/weight_statistics.h"

namespace gradwise {
namespace {

using Hook = torch::autograd::PostAccumulateGradHook;

}  // namespace

struct BackwardUpdate::Impl {
  Impl(FusedOptimizer& o, const NamedParameters& given, BackwardUpdateOptions asked)
      : optimizer(o),
        parameters(given.trainable()),
        options(asked),
        hooks(parameters.size(), nullptr),
        arrived(parameters.size(), false) {
    GRADWISE_CHECK(options.max_norm > 0, "optimizer", "max_norm is ", options.max_norm, ", allowed: > 0");
    GRADWISE_CHECK(options.norm_decay >= 0 && options.norm_decay < 1, "optimizer", "norm_decay is ", options.norm_decay,
                   ", allowed: from 0 to below 1");
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const at::Tensor& parameter = parameters.tensors[i];
      const std::optional<std::size_t> found = optimizer.place_of(parameter);
      GRADWISE_CHECK(found, "optimizer", "the optimizer does not hold parameter \"", parameters.names[i], "\"");
      GRADWISE_CHECK(parameter.is_cpu(), "optimizer", "an update in the backward pass is for parameters on the CPU, \"",
                     parameters.names[i], "\" is on ", parameter.device());
      place.push_back(*found);
    }
  }

  [[nodiscard]] double coefficient(double norm) const {
    const bool by_running = options.clip == BackwardClip::running_norm && steps > 0;
    return options.clip == BackwardClip::none ? 1
                                              : clip_coefficient(by_running ? running_norm : norm, options.max_norm);
  }

  void take(std::size_t index) {
    const at::Tensor& parameter = parameters.tensors[index];
    arrived[index] = true;
    const double norm = pass.norm({parameter.grad()});
    if (std::isfinite(norm)) {
      const double scale = coefficient(norm);
      squares += norm * norm;
      squares_clipped += norm * norm * scale * scale;
      clipped = clipped || scale < 1;
      optimizer.update_one(place[index], {.grad_scale = scale});
      ++updated;
    } else {
      not_finite.push_back(index);
    }
    at::Tensor(parameter).mutable_grad().reset();
  }

  FusedOptimizer& optimizer;
  NamedParameters parameters;
  BackwardUpdateOptions options;
  std::vector<std::size_t> place;  // of each parameter in the optimizer
  std::vector<const Hook*> hooks;  // those in force, compared only
  GradientPass pass;
  std::int64_t steps = 0;
  double running_norm = 0;

  // Of the backward pass under way.
  std::vector<bool> arrived;
  std::vector<std::size_t> not_finite;
  std::int64_t updated = 0;
  double squares = 0;
  double squares_clipped = 0;
  bool clipped = false;
  std::vector<std::string> missing;  // of the last one
};

namespace {

// Runs whatever hook the parameter had first.
template <class Shared>
class UpdatingHook : public Hook {
 public:
  UpdatingHook(std::shared_ptr<Shared> shared, std::size_t index, std::unique_ptr<Hook> before)
      : before_(std::move(before)), shared_(std::move(shared)), index_(index) {}

  void operator()(const torch::autograd::Variable& parameter) override {
    if (before_) {
      (*before_)(parameter);
    }
    if (shared_->hooks[index_] == this && parameter.grad().defined()) {
      shared_->take(index_);
    }
  }
  std::unique_ptr<Hook> take_before() { return std::move(before_); }

 private:
  std::unique_ptr<Hook> before_;
  std::shared_ptr<Shared> shared_;
  std::size_t index_;
};

}  // namespace

BackwardUpdate::BackwardUpdate(FusedOptimizer& optimizer, const NamedParameters& parameters,
                               BackwardUpdateOptions options)
    : impl_(std::make_shared<Impl>(optimizer, parameters, options)) {
  run_last();
}

// Where a later hook lies over ours, ours stays below it and does nothing.
BackwardUpdate::~BackwardUpdate() {
  for (std::size_t i = 0; i < impl_->parameters.size(); ++i) {
    std::unique_ptr<Hook>& standing = torch::autograd::impl::post_acc_grad_hooks(impl_->parameters.tensors[i]);
    const bool on_top = standing.get() == impl_->hooks[i];
    impl_->hooks[i] = nullptr;
    if (on_top) {
      standing = static_cast<UpdatingHook<Impl>&>(*standing).take_before();
    }
  }
}

void BackwardUpdate::run_last() {
  for (std::size_t i = 0; i < impl_->parameters.size(); ++i) {
    const at::Tensor& parameter = impl_->parameters.tensors[i];
    std::unique_ptr<Hook>& standing = torch::autograd::impl::post_acc_grad_hooks(parameter);
    if (!standing || standing.get() != impl_->hooks[i]) {
      auto hook = std::make_unique<UpdatingHook<Impl>>(impl_, i, std::move(standing));
      impl_->hooks[i] = hook.get();
      torch::autograd::impl::set_post_acc_grad_hooks(parameter, std::move(hook));
    }
  }
}

StepInfo BackwardUpdate::finish_step() {
  Impl& self = *impl_;
  GRADWISE_CHECK(std::find(self.arrived.begin(), self.arrived.end(), true) != self.arrived.end(), "optimizer",
                 "finish_step was called before any backward pass");
  StepInfo info;
  info.step = ++self.steps;
  info.grad_norm = std::sqrt(self.squares);
  info.grad_norm_clipped = std::sqrt(self.squares_clipped);
  info.clipped = self.clipped;
  info.skipped = self.updated == 0;
  for (const std::size_t index : self.not_finite) {
    Issue issue;
    issue.rule = "nonfinite_gradient";
    issue.severity = Issue::Severity::error;
    issue.layer = self.parameters.names[index];
    issue.step = info.step;
    issue.message = "the gradient of \"" + issue.layer + "\" holds inf or NaN; it was left out of the update";
    issue.advice = "lower the learning rate, clip gradients, or look for a bad input";
    info.issues.push_back(std::move(issue));
  }
  if (self.not_finite.empty()) {
    const double decay = self.steps == 1 ? 0 : self.options.norm_decay;
    self.running_norm = decay * self.running_norm + (1 - decay) * info.grad_norm;
  }
  self.optimizer.end_partial_step();
  WeightMoments all;
  for (const WeightMoments& moments : self.optimizer.weight_moments()) {
    all.merge(moments);
  }
  put_update(all, info);
  self.missing.clear();
  for (std::size_t i = 0; i < self.parameters.size(); ++i) {
    if (!self.arrived[i] && self.parameters.tensors[i].requires_grad()) {
      self.missing.push_back(self.parameters.names[i]);
    }
    self.arrived[i] = false;
  }
  self.not_finite.clear();
  self.updated = 0;
  self.squares = self.squares_clipped = 0;
  self.clipped = false;
  return info;
}

const std::vector<std::string>& BackwardUpdate::without_gradient() const { return impl_->missing; }

State BackwardUpdate::state() const {
  State saved;
  saved.values["steps"] = impl_->steps;
  saved.values["running_norm"] = to_json_number(impl_->running_norm);
  return saved;
}

void BackwardUpdate::load_state(const State& state) {
  impl_->steps = state.values.at("steps").get<std::int64_t>();
  impl_->running_norm = from_json_number(state.values.at("running_norm"));
}

}  // namespace gradwise
