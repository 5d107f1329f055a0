#include "gradwise/monitor/watch.h"

#include <ATen/ops/stack.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <atomic>
#include <utility>
#include <vector>

#include "gradwise/core/error.h"
#include "gradwise/monitor/tensor_moments.h"

namespace gradwise {
namespace {

// One parameter's part, which its hook writes from the backward's thread.
struct Slot {
  kernels::Moments moments;
  kernels::Histogram histogram{};
  std::int64_t arrivals = 0;  // of gradients in this step
  std::int64_t read_at = 0;   // arrivals that the moments hold
};

// What all hooks share. It outlives the Watch where somebody else's hook holds on to ours.
struct Shared {
  std::vector<Slot> slots;
  std::atomic<bool> attached{true};
  bool due = true;
  bool histogram_due = false;
  std::int64_t expected = 1;

  void read(Slot& slot, const at::Tensor& gradient) {
    slot.moments = read_gradient(gradient);
    if (histogram_due) {
      slot.histogram.fill(0);
      add_gradient_to_histogram(gradient, slot.histogram);
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
    if (shared_->due && slot.arrivals == shared_->expected && gradient.defined() && kernels_read(gradient)) {
      shared_->read(slot, gradient);
    }
  }
  std::unique_ptr<Hook> take_before() { return std::move(before_); }

 private:
  std::unique_ptr<Hook> before_;
  std::shared_ptr<Shared> shared_;
  std::size_t index_;
};

void multiply(kernels::Moments& moments, double scale) {
  moments.sum *= scale;
  moments.sum_abs *= scale;
  moments.sum_squares *= scale * scale;
  moments.min *= scale;
  moments.max *= scale;
}

}  // namespace

struct Watch::Impl {
  Impl(const NamedParameters& parameters, WatchOptions given)
      : options(given), watched(parameters.trainable()), shared(std::make_shared<Shared>()) {
    check_fields("watch", options);
    GRADWISE_CHECK(watched.size() > 0, "watch", "none of the ", parameters.size(), " parameters asks for a gradient");
    for (std::size_t i = 0; i < watched.size(); ++i) {
      GRADWISE_CHECK(watched.tensors[i].is_leaf(), "watch", "parameter \"", watched.names[i],
                     "\" is computed from others, allowed: leaves");
    }
    shared->slots.resize(watched.size());
    readings.resize(watched.size());
    for (std::size_t i = 0; i < watched.size(); ++i) {
      readings[i].name = watched.names[i];
      std::unique_ptr<Hook>& place = torch::autograd::impl::post_acc_grad_hooks(watched.tensors[i]);
      auto hook = std::make_unique<ReadingHook>(shared, i, std::move(place));
      hooks.push_back(hook.get());
      torch::autograd::impl::set_post_acc_grad_hooks(watched.tensors[i], std::move(hook));
    }
    plan_step();
  }

  void plan_step() {
    shared->due = steps % options.every == 0;
    shared->histogram_due = options.histograms_every > 0 && steps % options.histograms_every == 0;
    shared->expected = 1;
    for (Slot& slot : shared->slots) {
      slot.arrivals = slot.read_at = 0;
    }
  }

  // Fetches what the hooks did not read: gradients on another device, and those of fewer passes than were expected.
  void read_the_rest() {
    std::vector<std::size_t> elsewhere;
    std::vector<at::Tensor> figures;
    for (std::size_t i = 0; i < watched.size(); ++i) {
      Slot& slot = shared->slots[i];
      const at::Tensor& gradient = watched.tensors[i].grad();
      if (slot.arrivals == slot.read_at || !gradient.defined()) {
        continue;
      }
      if (kernels_read(gradient)) {
        shared->read(slot, gradient);
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
    for (std::size_t i = 0; i < watched.size(); ++i) {
      GradientReading& reading = readings[i];
      Slot& slot = shared->slots[i];
      reading.step = steps;
      reading.missing = slot.arrivals == 0;
      reading.gradient = reading.missing ? kernels::Moments() : slot.moments;
      reading.histogram.reset();
      if (scale != 1.0) {
        multiply(reading.gradient, scale);
      }
      if (shared->histogram_due && slot.read_at > 0) {
        reading.histogram = slot.histogram;
      }
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
  std::vector<GradientReading> readings;
  std::int64_t steps = 0;
};

Watch::Watch(const NamedParameters& parameters, WatchOptions options)
    : impl_(std::make_unique<Impl>(parameters, options)) {}

Watch::~Watch() { impl_->detach(); }

void Watch::expect_backwards(std::int64_t count) {
  GRADWISE_CHECK(count >= 1, "watch", "the step has ", count, " backward passes, allowed: >= 1");
  impl_->shared->expected = count;
}

std::span<const GradientReading> Watch::step(double scale) {
  if (impl_->shared->due) {
    impl_->read_the_rest();
    impl_->take_readings(scale);
  }
  ++impl_->steps;
  impl_->plan_step();
  return impl_->readings;
}

void Watch::detach() { impl_->detach(); }

std::span<const GradientReading> Watch::readings() const { return impl_->readings; }

std::int64_t Watch::steps() const { return impl_->steps; }

}  // namespace gradwise
