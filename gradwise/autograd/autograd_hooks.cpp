#include "gradwise/autograd/autograd_hooks.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <mutex>
#include <utility>

#include "gradwise/core/error.h"
#include "gradwise/core/nearest_name.h"

namespace gradwise {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Sum of squares, sum, min and max of the finite elements, zeros, number of finite elements: on the tensor's device.
at::Tensor figures_on_device(const at::Tensor& tensor) {
  const at::Tensor x = (tensor.is_sparse() ? tensor.to_dense() : tensor).to(at::kDouble).reshape({-1});
  const at::Tensor finite = x.isfinite();
  const at::Tensor kept = at::where(finite, x, at::zeros_like(x));
  const at::Tensor count = finite.sum().to(at::kDouble);
  const at::Tensor squares = kept.square().sum();
  const at::Tensor zeros = tensor.numel() > 0 ? x.eq(0).sum().to(at::kDouble) : count;
  const at::Tensor least = tensor.numel() > 0 ? at::where(finite, x, kInfinity).min() : count;
  const at::Tensor greatest = tensor.numel() > 0 ? at::where(finite, x, -kInfinity).max() : count;
  return at::stack({squares, kept.sum(), least, greatest, zeros, count});
}

bool wanted(const std::vector<std::string>& patterns, const std::string& name) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&name](const std::string& pattern) { return matches_pattern(name, pattern); });
}

}  // namespace

struct AutogradHooks::Impl {
  // A record whose figures are still on their device.
  struct Seen {
    HookKind kind;
    std::string name;
    std::int64_t times = 0;
    std::vector<std::int64_t> shape;
    std::int64_t elements = 0;
    at::Tensor figures;
    at::Tensor tensor;
  };

  static HookRecord record_of(const Seen& seen) {
    HookRecord record;
    record.kind = seen.kind;
    record.name = seen.name;
    record.times = seen.times;
    record.shape = seen.shape;
    record.tensor = seen.tensor;
    const at::Tensor host = seen.figures.to(at::kCPU);
    const double* f = host.const_data_ptr<double>();
    const auto elements = static_cast<double>(seen.elements);
    const double count = f[5];
    record.norm = std::sqrt(f[0]);
    if (count > 0) {
      record.mean = f[1] / count;
      record.deviation = std::sqrt(std::max(0.0, f[0] / count - record.mean * record.mean));
      record.min = f[2];
      record.max = f[3];
    }
    if (elements > 0) {
      record.zeros = f[4] / elements;
      record.nonfinite = 1 - count / elements;
    }
    return record;
  }

  void note(HookKind kind, const std::string& name, const at::Tensor& tensor) {
    if (!attached.load() || !tensor.defined()) {
      return;
    }
    const at::NoGradGuard no_grad;
    at::Tensor figures = figures_on_device(tensor);
    const std::lock_guard lock(mutex);
    auto found =
        std::find_if(all.begin(), all.end(), [&](const Seen& seen) { return seen.kind == kind && seen.name == name; });
    if (found == all.end()) {
      found = all.insert(all.end(), Seen{kind, name, 0, {}, 0, {}, {}});
    }
    ++found->times;
    found->shape = tensor.sizes().vec();
    found->elements = tensor.numel();
    found->figures = std::move(figures);
    found->tensor = options.keep_tensors ? tensor.detach() : at::Tensor();
  }

  AutogradHooksOptions options;
  std::atomic<bool> attached{true};
  std::vector<std::pair<at::Tensor, unsigned>> hooked;
  mutable std::mutex mutex;
  std::vector<Seen> all;
};

AutogradHooks::AutogradHooks(const NamedParameters& parameters, AutogradHooksOptions options)
    : impl_(std::make_shared<Impl>()) {
  parameters.check_names("hooks");
  parameters.check_types("hooks");
  impl_->options = std::move(options);
  for (std::size_t i = 0; impl_->options.parameter_gradients && i < parameters.size(); ++i) {
    const std::string& name = parameters.names[i];
    const at::Tensor& tensor = parameters.tensors[i];
    if (tensor.requires_grad() && wanted(impl_->options.patterns, name)) {
      const unsigned hook = tensor.register_hook([self = std::weak_ptr<Impl>(impl_), name](const at::Tensor& gradient) {
        if (const auto impl = self.lock()) {
          impl->note(HookKind::parameter_gradient, name, gradient);
        }
      });
      impl_->hooked.emplace_back(tensor, hook);
    }
  }
}

AutogradHooks::~AutogradHooks() { remove(); }

void AutogradHooks::observe(const std::string& layer, const at::Tensor& output) {
  if (!impl_->attached.load() || !output.defined() || !output.is_floating_point() ||
      !wanted(impl_->options.patterns, layer)) {
    return;
  }
  if (impl_->options.activations) {
    impl_->note(HookKind::activation, layer, output.detach());
  }
  if (impl_->options.activation_gradients && output.requires_grad()) {
    output.register_hook([self = std::weak_ptr<Impl>(impl_), layer](const at::Tensor& gradient) {
      if (const auto impl = self.lock()) {
        impl->note(HookKind::activation_gradient, layer, gradient);
      }
    });
  }
}

std::vector<HookRecord> AutogradHooks::records() const {
  const std::lock_guard lock(impl_->mutex);
  std::vector<HookRecord> records;
  for (const Impl::Seen& seen : impl_->all) {
    records.push_back(Impl::record_of(seen));
  }
  return records;
}

HookRecord AutogradHooks::record(HookKind kind, const std::string& name) const {
  const std::lock_guard lock(impl_->mutex);
  std::vector<std::string> known;
  for (const Impl::Seen& seen : impl_->all) {
    if (seen.kind == kind && seen.name == name) {
      return Impl::record_of(seen);
    }
    known.push_back(seen.name);
  }
  fail_usage("hooks", "nothing was seen of \"", name, "\"", did_you_mean(name, known));
}

void AutogradHooks::clear() {
  const std::lock_guard lock(impl_->mutex);
  impl_->all.clear();
}

void AutogradHooks::remove() {
  impl_->attached = false;
  for (const auto& [tensor, hook] : impl_->hooked) {
    tensor.remove_hook(hook);
  }
  impl_->hooked.clear();
}

}  // namespace gradwise
