#include "gradwise/monitor/watch.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/clone.h>
#include <ATen/ops/stack.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "gradwise/autograd/tensor_moments.h"
#include "gradwise/core/error.h"
#include "gradwise/monitor/parameter_figures.h"
#include "gradwise/monitor/reading_hook.h"

namespace gradwise {
namespace {

// Steps count from 1; the first is read whatever the interval.
bool due(std::int64_t every, std::int64_t step) { return step % every == 0 || step == 1; }

}  // namespace

struct Watch::Impl {
  Impl(const NamedParameters& parameters, WatchOptions given)
      : options(given), watched(parameters), shared(std::make_shared<GradientSlots>()) {
    check_fields("watch", options);
    watched.check_names("watch");
    watched.check_types("watch");
    for (const at::Tensor& tensor : watched.tensors) {
      trained.push_back(tensor.requires_grad());
    }
    GRADWISE_CHECK(std::ranges::find(trained, true) != trained.end(), "watch", "none of the ", parameters.size(),
                   " parameters asks for a gradient");
    for (std::size_t i = 0; i < watched.size(); ++i) {
      GRADWISE_CHECK(watched.tensors[i].is_leaf(), "watch", "parameter \"", watched.names[i],
                     "\" is computed from others, allowed: leaves");
    }
    shared->cosine = options.cosine;
    shared->slots.resize(watched.size());
    shared->histograms.resize(options.histograms_every > 0 ? watched.size() : 0);
    readings.resize(watched.size());
    attach();
    plan_step();
  }

  // Frozen parameters get their hooks too: it runs from the first gradient on, and never before.
  void attach() {
    hooks.resize(watched.size());
    for (std::size_t i = 0; i < watched.size(); ++i) {
      if (!watched.tensors[i].is_floating_point()) {
        continue;  // of integers or complex: can't be read
      }
      std::unique_ptr<ReadingHook::Hook>& place =
          torch::autograd::impl::materialize_autograd_meta(watched.tensors[i])->post_acc_grad_hooks_;
      auto hook = std::make_unique<ReadingHook>(shared, i, std::move(place));
      hooks[i] = hook.get();
      place = std::move(hook);
    }
  }

  // Looks for what was frozen or unfrozen since the last look. A parameter may be frozen by the time its step ends,
  // where several optimizers take turns: its gradient tells.
  void note_trained() {
    for (std::size_t i = 0; i < watched.size(); ++i) {
      const bool now = shared->slots[i].arrivals > 0 || (hooks[i] != nullptr && watched.tensors[i].requires_grad());
      if (now == trained[i]) {
        continue;
      }
      trained[i] = now;
      ++trained_version;
      if (!now) {
        forget(i);
      }
    }
  }

  void forget_histogram(std::size_t index) {
    if (!shared->histograms.empty()) {
      shared->histograms[index].fill(0);
    }
  }

  void forget(std::size_t index) {
    readings[index] = {};
    for (kernels::Sketch& sketch : shared->slots[index].sketches) {
      sketch.fill(0);
    }
    forget_histogram(index);
    if (!before.empty()) {
      before[index].reset();
    }
  }

  // Whether there is a copy of its weights, as they lie now: a parameter may have got other memory.
  [[nodiscard]] bool is_copied(std::size_t index) const {
    const at::Tensor& weights = watched.tensors[index];
    return before[index].defined() && before[index].sizes() == weights.sizes() &&
           before[index].scalar_type() == weights.scalar_type() && before[index].device() == weights.device();
  }

  // Copies the weights that the next update begins with, if it is to be measured by them.
  void keep_weights() {
    const at::NoGradGuard no_grad;
    before.resize(watched.size());
    for (std::size_t i = 0; i < before.size(); ++i) {
      const at::Tensor& weights = watched.tensors[i];
      if (trained[i] && !is_copied(i)) {
        before[i] = weights.is_non_overlapping_and_dense() ? at::clone(weights)
                                                           : at::clone(weights, at::MemoryFormat::Contiguous);
      } else if (trained[i] && !before_is_current) {
        before[i].copy_(weights);
      }
    }
    before_is_current = true;
  }

  void plan_step() {
    shared->due = due(options.every, steps + 1);
    shared->histogram_due = options.histograms_every > 0 && due(options.histograms_every, steps + 1);
    drop_arrivals();
  }

  void drop_arrivals() {
    for (GradientSlot& slot : shared->slots) {
      slot.arrivals = slot.read_at = 0;
    }
  }

  // Fetches what the hooks did not read: gradients on another device, and those of fewer passes than were expected.
  void read_the_rest() {
    elsewhere.clear();
    std::vector<at::Tensor> figures;
    for (std::size_t i = 0; i < watched.size(); ++i) {
      GradientSlot& slot = shared->slots[i];
      const at::Tensor& gradient = watched.tensors[i].grad();
      if (slot.arrivals == slot.read_at) {
        continue;
      }
      if (!gradient.defined()) {
        slot.moments = {};  // taken away unread
        forget_histogram(i);
      } else if (kernels_read(gradient)) {
        shared->read(i, gradient);
      } else {
        elsewhere.push_back(i);
        figures.push_back(gradient_figures(gradient));
      }
    }
    if (elsewhere.empty()) {
      return;
    }
    const at::Tensor host = at::stack(figures).to(at::kCPU, at::kDouble);
    for (std::size_t i = 0; i < elsewhere.size(); ++i) {
      shared->slots[elsewhere[i]].moments = moments_from(host.const_data_ptr<double>() + 9 * i);
    }
  }

  void take_readings(double scale) {
    double squares = 0;
    for (std::size_t i = 0; i < watched.size(); ++i) {
      if (!trained[i]) {
        continue;
      }
      ParameterReading& reading = readings[i];
      GradientSlot& slot = shared->slots[i];
      if (slot.arrivals > 0) {
        reading.missing = false;
        reading.grad_fresh = slot.fresh;
        put_gradient(slot.moments, scale, reading);
        // What another device has summed, or nobody read, is for whoever needs the norm to read.
        const bool summed = slot.read_at == slot.arrivals && slot.moments.finite() == slot.moments.count;
        squares += summed ? slot.moments.sum_squares : kNotMeasured;
      } else {
        clear_gradient(reading);
      }
      reading.grad_cosine = kNotMeasured;
      if (shared->cosine && slot.read_at > 0) {
        reading.grad_cosine =
            kernels::cosine(slot.sketches[0], slot.sketches[1], static_cast<std::size_t>(slot.moments.count));
      } else if (shared->cosine) {
        slot.sketches[shared->turn].fill(0);
      }
    }
    norm = std::sqrt(squares);
    shared->turn = 1 - shared->turn;
    if (shared->histogram_due) {
      histograms = shared->histograms;  // the next backward pass may come before these are asked for
    }
    histograms_read = shared->histogram_due;
  }

  [[nodiscard]] bool weights_due(std::int64_t step) const {
    return options.weights_every > 0 && due(options.weights_every, step);
  }

  // A pass over weights and their copies, which become those of the next update.
  void read_weights() {
    if (!weights_due(steps) || before.empty()) {  // a measured update that never came
      before_is_current = false;
      return;
    }
    elsewhere.clear();
    std::vector<at::Tensor> figures;
    for (std::size_t i = 0; i < watched.size(); ++i) {
      if (!is_copied(i)) {
        before[i].reset();  // frozen, or another than the one that was copied
        continue;
      }
      if (kernels_read(watched.tensors[i])) {
        put_weights(gradwise::read_weights(watched.tensors[i], before[i]), readings[i]);
      } else {
        elsewhere.push_back(i);
        figures.push_back(weight_figures(watched.tensors[i], before[i]));
      }
    }
    if (elsewhere.empty()) {
      return;
    }
    const at::Tensor host = at::stack(figures).to(at::kCPU, at::kDouble);
    for (std::size_t i = 0; i < elsewhere.size(); ++i) {
      const std::size_t index = elsewhere[i];
      put_weights(weight_moments_from(host.const_data_ptr<double>() + 5 * i, watched.tensors[index].numel()),
                  readings[index]);
    }
  }

  // Where a later hook lies over ours, ours stays below it and does nothing.
  void detach() {
    if (!shared->attached.exchange(false)) {
      return;
    }
    for (std::size_t i = 0; i < watched.size(); ++i) {
      if (hooks[i] == nullptr) {
        continue;
      }
      std::unique_ptr<ReadingHook::Hook>& place = torch::autograd::impl::post_acc_grad_hooks(watched.tensors[i]);
      if (place.get() == hooks[i]) {
        place = hooks[i]->take_before();
      }
    }
  }

  WatchOptions options;
  NamedParameters watched;
  std::shared_ptr<GradientSlots> shared;
  std::vector<ReadingHook*> hooks;  // compared, and used only where they still are their tensor's; null: not read
  std::vector<bool> trained;
  std::int64_t trained_version = 0;
  std::vector<ParameterReading> readings;
  std::vector<at::Tensor> before;      // weights as the next update finds them; undefined: frozen
  std::vector<std::size_t> elsewhere;  // parameters on other devices
  double norm = kNotMeasured;
  bool before_is_current = false;
  std::vector<MagnitudeHistogram> histograms;
  bool histograms_read = false;
  bool read = false;
  std::int64_t steps = 0;
};

Watch::Watch(const NamedParameters& parameters, WatchOptions options)
    : impl_(std::make_unique<Impl>(parameters, options)) {}

Watch::~Watch() { impl_->detach(); }

void Watch::expect_backwards(std::int64_t count) {
  GRADWISE_CHECK(count >= 1, "watch", "a step has ", count, " backward passes, allowed: >= 1");
  impl_->shared->expected = count;
}

void Watch::count_from(std::int64_t steps) {
  impl_->steps = steps;
  impl_->plan_step();
}

void Watch::read_next() {
  impl_->shared->due = true;
  impl_->shared->histogram_due = impl_->options.histograms_every > 0;
}

void Watch::drop_gradients() { impl_->drop_arrivals(); }

bool Watch::arrived() const {
  return std::ranges::any_of(impl_->shared->slots, [](const GradientSlot& slot) { return slot.arrivals > 0; });
}

std::int64_t Watch::arrivals() const {
  return std::accumulate(impl_->shared->slots.begin(), impl_->shared->slots.end(), std::int64_t{0},
                         [](std::int64_t sum, const GradientSlot& slot) { return sum + slot.arrivals; });
}

std::span<const ParameterReading> Watch::step(double scale, bool measured_update) {
  impl_->read = impl_->shared->due;
  if (impl_->read || impl_->weights_due(impl_->steps + 1)) {
    impl_->note_trained();
  }
  if (impl_->read) {
    impl_->read_the_rest();
    impl_->take_readings(scale);
  }
  ++impl_->steps;
  if (impl_->weights_due(impl_->steps) && !measured_update) {
    impl_->keep_weights();
  }
  impl_->plan_step();
  return impl_->readings;
}

std::span<const ParameterReading> Watch::after_update() {
  impl_->read_weights();
  return impl_->readings;
}

std::span<const ParameterReading> Watch::after_update(std::span<const WeightMoments> measured) {
  GRADWISE_CHECK(measured.size() == impl_->watched.size(), "watch", "there are ", measured.size(),
                 " measured updates for ", impl_->watched.size(), " parameters");
  if (impl_->weights_due(impl_->steps)) {
    for (std::size_t i = 0; i < measured.size(); ++i) {
      if (impl_->trained[i] && measured[i].count > 0) {
        put_weights(measured[i], impl_->readings[i]);
      }
    }
  }
  impl_->before_is_current = false;
  return impl_->readings;
}

double Watch::gradient_norm() const { return impl_->read ? impl_->norm : kNotMeasured; }

void Watch::keep_weights() { impl_->keep_weights(); }
void Watch::rebase() { impl_->before_is_current = false; }
void Watch::detach() { impl_->detach(); }
const std::vector<std::string>& Watch::names() const { return impl_->watched.names; }
const std::vector<bool>& Watch::trained() const { return impl_->trained; }
std::int64_t Watch::trained_version() const { return impl_->trained_version; }
std::span<const ParameterReading> Watch::readings() const { return impl_->readings; }
std::span<const MagnitudeHistogram> Watch::histograms() const {
  return impl_->histograms_read ? std::span<const MagnitudeHistogram>(impl_->histograms)
                                : std::span<const MagnitudeHistogram>();
}
std::int64_t Watch::steps() const { return impl_->steps; }
bool Watch::was_read() const { return impl_->read; }

}  // namespace gradwise
