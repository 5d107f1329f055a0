#include "gradwise/monitor/watch.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/clone.h>
#include <ATen/ops/stack.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <utility>
#include <vector>

#include "gradwise/autograd/tensor_moments.h"
#include "gradwise/core/error.h"

namespace gradwise {
namespace {

// Steps count from 1; the first is read whatever the interval.
bool due(std::int64_t every, std::int64_t step) { return step % every == 0 || step == 1; }

// One parameter's part, which its hook writes from the backward's thread.
struct Slot {
  kernels::Moments moments;
  std::array<kernels::Sketch, 2> sketches;  // of the gradient now and of the one before, in turn
  std::int64_t arrivals = 0;                // of gradients in this step
  std::int64_t read_at = 0;                 // arrivals that the moments hold
};

// What all hooks share. It outlives the Watch where somebody else's hook holds on to ours.
struct Shared {
  std::vector<Slot> slots;
  std::vector<MagnitudeHistogram> histograms;
  std::atomic<bool> attached{true};
  bool due = true;
  bool histogram_due = false;
  bool cosine = true;
  std::size_t turn = 0;  // which of the sketches is that of now
  std::int64_t expected = 1;

  void read(std::size_t index, const at::Tensor& gradient) {
    Slot& slot = slots[index];
    slot.moments = cosine ? read_gradient(gradient, slot.sketches[turn]) : moments_of(gradient);
    if (histogram_due) {
      histograms[index].fill(0);
      add_to_histogram(gradient, histograms[index]);
    }
    slot.read_at = slot.arrivals;
  }
};

using Hook = torch::autograd::PostAccumulateGradHook;

class ReadingHook : public Hook {
 public:
  ReadingHook(std::shared_ptr<Shared> shared, std::size_t index, std::unique_ptr<Hook> before)
      : before_(std::move(before)), shared_(std::move(shared)), index_(index) {}

  void operator()(const torch::autograd::Variable& parameter) override {
    if (before_) {
      (*before_)(parameter);
    }
    if (!shared_->attached.load(std::memory_order_relaxed)) {
      return;
    }
    Slot& slot = shared_->slots[index_];
    ++slot.arrivals;
    const at::Tensor& gradient = parameter.grad();
    if (shared_->due && slot.arrivals >= shared_->expected && gradient.defined() && kernels_read(gradient)) {
      shared_->read(index_, gradient);
    }
  }
  std::unique_ptr<Hook> take_before() { return std::move(before_); }

 private:
  std::unique_ptr<Hook> before_;
  std::shared_ptr<Shared> shared_;
  std::size_t index_;
};

// What a pass over a gradient gave, as the step's own figures.
void put_gradient(const kernels::Moments& m, double scale, ParameterReading& reading) {
  const auto count = static_cast<double>(m.count);
  const bool some = m.finite() > 0;
  reading.grad_norm = m.l2() * scale;
  reading.grad_mean_abs = m.count > 0 ? m.l1() / count * scale : kNotMeasured;
  reading.grad_max = m.max_abs() * scale;
  reading.grad_min_value = some ? m.min * scale : kNotMeasured;
  reading.grad_max_value = some ? m.max * scale : kNotMeasured;
  reading.grad_mean = m.mean() * scale;
  reading.grad_variance = m.variance() * scale * scale;
  reading.grad_zeros = m.count > 0 ? static_cast<double>(m.zeros) / count : kNotMeasured;
  reading.grad_nans = m.nans;
  reading.grad_infs = m.infs;
}

// No gradient came; the figures of the weights stay.
void clear_gradient(ParameterReading& reading) {
  reading.missing = true;
  reading.grad_norm = reading.grad_mean_abs = reading.grad_max = reading.grad_min_value = kNotMeasured;
  reading.grad_max_value = reading.grad_mean = reading.grad_variance = reading.grad_zeros = kNotMeasured;
  reading.grad_nans = reading.grad_infs = 0;
}

void put_weights(const kernels::WeightMoments& m, ParameterReading& reading) {
  const auto count = static_cast<double>(std::max<std::int64_t>(m.count, 1));
  const double mean = m.sum / count;
  reading.weight_norm = std::sqrt(m.sum_squares);
  reading.weight_mean = mean;
  reading.weight_variance = std::max(0.0, m.sum_squares / count - mean * mean);
  reading.weight_max = m.max_abs;
  reading.update_norm = std::sqrt(m.update_squares);
  reading.update_ratio = m.squares_before > 0 ? std::sqrt(m.update_squares / m.squares_before) : kNotMeasured;
}

}  // namespace

struct Watch::Impl {
  Impl(const NamedParameters& parameters, WatchOptions given)
      : options(given), watched(parameters.trainable()), shared(std::make_shared<Shared>()) {
    check_fields("watch", options);
    watched.check_names("watch");
    watched.check_types("watch");
    GRADWISE_CHECK(watched.size() > 0, "watch", "none of the ", parameters.size(), " parameters asks for a gradient");
    for (std::size_t i = 0; i < watched.size(); ++i) {
      GRADWISE_CHECK(watched.tensors[i].is_leaf(), "watch", "parameter \"", watched.names[i],
                     "\" is computed from others, allowed: leaves");
    }
    shared->cosine = options.cosine;
    shared->slots.resize(watched.size());
    shared->histograms.resize(options.histograms_every > 0 ? watched.size() : 0);
    readings.resize(watched.size());
    for (std::size_t i = 0; i < watched.size(); ++i) {
      std::unique_ptr<Hook>& place = torch::autograd::impl::post_acc_grad_hooks(watched.tensors[i]);
      auto hook = std::make_unique<ReadingHook>(shared, i, std::move(place));
      hooks.push_back(hook.get());
      torch::autograd::impl::set_post_acc_grad_hooks(watched.tensors[i], std::move(hook));
    }
    plan_step();
  }

  // Copies the weights that the next update begins with, if it is to be measured by them.
  void keep_weights() {
    const at::NoGradGuard no_grad;
    if (before.empty()) {
      for (const at::Tensor& weights : watched.tensors) {
        before.push_back(weights.is_non_overlapping_and_dense() ? at::clone(weights)
                                                                : at::clone(weights, at::MemoryFormat::Contiguous));
      }
    } else if (!before_is_current) {
      for (std::size_t i = 0; i < before.size(); ++i) {
        before[i].copy_(watched.tensors[i]);
      }
    }
    before_is_current = true;
  }

  void plan_step() {
    shared->due = due(options.every, steps + 1);
    shared->histogram_due = options.histograms_every > 0 && due(options.histograms_every, steps + 1);
    for (Slot& slot : shared->slots) {
      slot.arrivals = slot.read_at = 0;
    }
  }

  // Fetches what the hooks did not read: gradients on another device, and those of fewer passes than were expected.
  void read_the_rest() {
    elsewhere.clear();
    std::vector<at::Tensor> figures;
    for (std::size_t i = 0; i < watched.size(); ++i) {
      const Slot& slot = shared->slots[i];
      const at::Tensor& gradient = watched.tensors[i].grad();
      if (slot.arrivals == slot.read_at || !gradient.defined()) {
        continue;
      }
      if (kernels_read(gradient)) {
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
      ParameterReading& reading = readings[i];
      Slot& slot = shared->slots[i];
      if (slot.arrivals > 0) {
        reading.missing = false;
        put_gradient(slot.moments, scale, reading);
        // What another device has summed, or nobody read, is for whoever needs the norm to read.
        const bool summed = slot.read_at == slot.arrivals && slot.moments.finite() == slot.moments.count;
        squares += summed ? slot.moments.sum_squares : kNotMeasured;
      } else {
        clear_gradient(reading);
      }
      reading.grad_cosine = kNotMeasured;
      if (shared->cosine && slot.read_at > 0) {
        reading.grad_cosine = kernels::cosine(slot.sketches[0], slot.sketches[1]);
      } else if (shared->cosine) {
        slot.sketches[shared->turn].fill(0);
      }
    }
    norm = std::sqrt(squares);
    shared->turn = 1 - shared->turn;
    histograms_read = shared->histogram_due;
  }

  [[nodiscard]] bool weights_due(std::int64_t step) const {
    return options.weights_every > 0 && due(options.weights_every, step);
  }

  // A pass over weights and their copies, which become those of the next update.
  void read_weights() {
    if (!weights_due(steps) || before.size() != watched.size()) {  // a measured update that never came
      before_is_current = false;
      return;
    }
    elsewhere.clear();
    std::vector<at::Tensor> figures;
    for (std::size_t i = 0; i < watched.size(); ++i) {
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
      std::unique_ptr<Hook>& place = torch::autograd::impl::post_acc_grad_hooks(watched.tensors[i]);
      if (place.get() == hooks[i]) {
        place = hooks[i]->take_before();
      }
    }
  }

  WatchOptions options;
  NamedParameters watched;
  std::shared_ptr<Shared> shared;
  std::vector<ReadingHook*> hooks;  // compared, and used only where they still are their tensor's
  std::vector<ParameterReading> readings;
  std::vector<at::Tensor> before;      // weights as the next update finds them
  std::vector<std::size_t> elsewhere;  // parameters on other devices
  double norm = kNotMeasured;
  bool before_is_current = false;
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

bool Watch::arrived() const {
  return std::ranges::any_of(impl_->shared->slots, [](const Slot& slot) { return slot.arrivals > 0; });
}

std::span<const ParameterReading> Watch::step(double scale, bool measured_update) {
  impl_->read = impl_->shared->due;
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
      put_weights(measured[i], impl_->readings[i]);
    }
  }
  impl_->before_is_current = false;
  return impl_->readings;
}

double Watch::gradient_norm() const { return impl_->read ? impl_->norm : kNotMeasured; }

void Watch::rebase() { impl_->before_is_current = false; }
void Watch::detach() { impl_->detach(); }
const std::vector<std::string>& Watch::names() const { return impl_->watched.names; }
std::span<const ParameterReading> Watch::readings() const { return impl_->readings; }
std::span<const MagnitudeHistogram> Watch::histograms() const {
  return impl_->histograms_read ? std::span<const MagnitudeHistogram>(impl_->shared->histograms)
                                : std::span<const MagnitudeHistogram>();
}
std::int64_t Watch::steps() const { return impl_->steps; }
bool Watch::was_read() const { return impl_->read; }

}  // namespace gradwise
