#pragma once

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "gradwise/autograd/tensor_moments.h"
#include "gradwise/core/error.h"
#include "gradwise/core/reading.h"

/// Private to watch.cpp: its hooks, and what they write.
namespace gradwise {

/// One parameter's part, which its hook writes from the backward's thread.
struct GradientSlot {
  kernels::Moments moments;
  std::array<kernels::Sketch, 2> sketches;  // of the gradient now and of the one before, in turn
  std::int64_t arrivals = 0;                // of gradients in this step
  std::int64_t read_at = 0;                 // arrivals that the moments hold
  bool fresh = false;                       // the first one began a tensor: nothing was there to add to
};

/// What all hooks of a Watch share. It outlives the Watch where somebody else's hook holds on to ours.
struct GradientSlots {
  std::vector<GradientSlot> slots;
  std::vector<MagnitudeHistogram> histograms;
  std::atomic<bool> attached{true};
  bool due = true;
  bool histogram_due = false;
  bool cosine = true;
  std::size_t turn = 0;  // which of the sketches is that of now
  std::int64_t expected = 1;

  void read(std::size_t index, const at::Tensor& gradient) {
    GradientSlot& slot = slots[index];
    slot.moments = cosine ? read_gradient(gradient, slot.sketches[turn]) : moments_of(gradient);
    if (histogram_due) {
      histograms[index].fill(0);
      add_to_histogram(gradient, histograms[index]);
    }
    slot.read_at = slot.arrivals;
  }
};

/// Reads a parameter's gradient when it has been accumulated, after the hook that the parameter had before; where that
/// one takes the gradient away, as an optimizer that steps within backward does, what it was given.
class ReadingHook : public torch::autograd::PostAccumulateGradHook {
 public:
  using Hook = torch::autograd::PostAccumulateGradHook;

  ReadingHook(std::shared_ptr<GradientSlots> shared, std::size_t index, std::unique_ptr<Hook> before)
      : before_(std::move(before)), shared_(std::move(shared)), index_(index) {}

  void operator()(const torch::autograd::Variable& parameter) override {
    const bool fresh = begins(parameter.grad());
    at::Tensor given;
    if (before_) {
      given = parameter.grad();
      (*before_)(parameter);
    }
    if (!shared_->attached.load(std::memory_order_relaxed)) {
      return;
    }
    GradientSlot& slot = shared_->slots[index_];
    const at::Tensor& left = parameter.grad();
    const at::Tensor& gradient = left.defined() ? left : given;
    if (++slot.arrivals == 1) {
      slot.fresh = fresh;
    }
    if (shared_->due && slot.arrivals >= shared_->expected && gradient.defined() && kernels_read(gradient)) {
      shared_->read(index_, gradient);
    }
  }

  // Compiled autograd traces a backward pass and leaves out the hooks of C++.
  void compiled_args(torch::dynamo::autograd::CompiledNodeArgs& args) const override {
    GRADWISE_CHECK(!shared_->attached.load(std::memory_order_relaxed), "watch",
                   "compiled autograd runs this backward pass, allowed: autograd itself, or no watch: detach() it");
    if (before_) {
      before_->compiled_args(args);
    }
  }
  void apply_with_saved(torch::autograd::Variable& parameter,
                        torch::dynamo::autograd::SwapSavedVariables& saved) override {
    if (before_) {
      before_->apply_with_saved(parameter, saved);
    }
  }

  std::unique_ptr<Hook> take_before() { return std::move(before_); }

 private:
  // Whether nothing was there to add to: sums change the tensor in place, but where a graph of backward is made.
  static bool begins(const at::Tensor& gradient) {
    return gradient.defined() && !at::GradMode::is_enabled() && !gradient.is_inference() && gradient._version() == 0;
  }

  std::unique_ptr<Hook> before_;
  std::shared_ptr<GradientSlots> shared_;
  std::size_t index_;
};

}  // namespace gradwise
