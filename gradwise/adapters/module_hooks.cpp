#include "gradwise/adapters/module_hooks.h"

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "gradwise/core/error.h"

namespace gradwise {

struct LayerHooks::Lists {
  std::map<std::int64_t, PreForwardHook> before;
  std::map<std::int64_t, ForwardHook> behind;
  std::map<std::int64_t, BackwardHook> backward;
  std::int64_t next = 0;
};

namespace {

// Waits for both gradients of one call, then tells the hooks.
struct BackwardCall {
  std::string layer;
  std::vector<BackwardHook> hooks;
  at::Tensor grad_output;
};

// The input gets an alias of its own, so that its gradient is this layer's part alone.
at::Tensor watched_input(const at::Tensor& input, const std::shared_ptr<BackwardCall>& call) {
  if (!input.requires_grad()) {
    return input;
  }
  const at::Tensor alias = input.view_as(input);
  alias.register_hook([call](const at::Tensor& gradient) {
    for (const BackwardHook& hook : call->hooks) {
      hook(call->layer, gradient, call->grad_output);
    }
  });
  return alias;
}

void watch_output(const at::Tensor& output, const std::shared_ptr<BackwardCall>& call, bool input_asks) {
  if (!output.requires_grad()) {
    return;
  }
  output.register_hook([call, input_asks](const at::Tensor& gradient) {
    call->grad_output = gradient;
    for (std::size_t i = 0; !input_asks && i < call->hooks.size(); ++i) {
      call->hooks[i](call->layer, at::Tensor(), gradient);
    }
  });
}

template <class Hook>
HookHandle added(const std::shared_ptr<LayerHooks::Lists>& lists, std::map<std::int64_t, Hook> LayerHooks::Lists::*list,
                 Hook hook) {
  const std::int64_t id = lists->next++;
  ((*lists).*list).emplace(id, std::move(hook));
  return HookHandle([weak = std::weak_ptr<LayerHooks::Lists>(lists), list, id] {
    if (const auto kept = weak.lock()) {
      ((*kept).*list).erase(id);
    }
  });
}

}  // namespace

LayerHooks::LayerHooks() : lists_(std::make_shared<Lists>()) {}

HookHandle LayerHooks::on_pre_forward(PreForwardHook hook) { return added(lists_, &Lists::before, std::move(hook)); }
HookHandle LayerHooks::on_forward(ForwardHook hook) { return added(lists_, &Lists::behind, std::move(hook)); }
HookHandle LayerHooks::on_backward(BackwardHook hook) { return added(lists_, &Lists::backward, std::move(hook)); }

at::Tensor LayerHooks::around(const std::string& layer, const at::Tensor& given,
                              const std::function<at::Tensor(const at::Tensor&)>& forward) const {
  at::Tensor input = given;
  for (const auto& [id, hook] : lists_->before) {
    if (at::Tensor other = hook(layer, input); other.defined()) {
      input = std::move(other);
    }
  }
  std::shared_ptr<BackwardCall> call;
  if (!lists_->backward.empty()) {
    call = std::make_shared<BackwardCall>();
    call->layer = layer;
    for (const auto& [id, hook] : lists_->backward) {
      call->hooks.push_back(hook);
    }
  }
  at::Tensor output = forward(call ? watched_input(input, call) : input);
  if (call) {
    watch_output(output, call, input.requires_grad());
  }
  for (const auto& [id, hook] : lists_->behind) {
    if (at::Tensor other = hook(layer, input, output); other.defined()) {
      output = std::move(other);
    }
  }
  return output;
}

namespace {

// Stands in a Sequential's list in a layer's place. The list serves the forward pass alone: parameters are found
// through the children, which stay.
class HookPoint : public torch::nn::Module {
 public:
  HookPoint(torch::nn::AnyModule layer, LayerHooks hooks, std::string name)
      : layer_(std::move(layer)), hooks_(std::move(hooks)), name_(std::move(name)) {}
  at::Tensor forward(const at::Tensor& input) {
    return hooks_.around(name_, input, [this](const at::Tensor& x) { return layer_.forward(x); });
  }
  // A copy of the list would lose the parameters, which are the children's.
  std::shared_ptr<torch::nn::Module> clone(const std::optional<at::Device>& /*device*/) const override {
    fail_usage("hooks", "layer ", name_, " has hooks; end the SequentialHooks before the model is cloned");
  }

 private:
  torch::nn::AnyModule layer_;
  LayerHooks hooks_;
  std::string name_;
};

}  // namespace

struct SequentialHooks::Impl {
  void put_in(torch::nn::SequentialImpl& sequential, const std::string& prefix, const LayerHooks& hooks) {
    std::vector<std::string> names;
    for (const auto& child : sequential.named_children()) {
      names.push_back(prefix.empty() ? child.key() : prefix + "." + child.key());
    }
    std::size_t i = 0;
    for (torch::nn::AnyModule& layer : sequential) {
      if (auto inner = std::dynamic_pointer_cast<torch::nn::SequentialImpl>(layer.ptr())) {
        put_in(*inner, names[i], hooks);
      }
      replaced.emplace_back(&layer, layer);
      layer = torch::nn::AnyModule(std::make_shared<HookPoint>(layer, hooks, names[i]));
      ++i;
    }
  }

  torch::nn::Sequential sequential{nullptr};
  std::vector<std::pair<torch::nn::AnyModule*, torch::nn::AnyModule>> replaced;
};

SequentialHooks::SequentialHooks(torch::nn::Sequential sequential, const std::string& prefix)
    : impl_(std::make_unique<Impl>()) {
  impl_->sequential = std::move(sequential);
  impl_->put_in(*impl_->sequential, prefix, *this);
}

SequentialHooks::~SequentialHooks() {
  for (auto& [place, layer] : impl_->replaced) {
    *place = layer;
  }
}

}  // namespace gradwise
