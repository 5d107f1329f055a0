#include "gradwise/adapters/module_hooks.h"

#include <gtest/gtest.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/linear.h>

#include <string>
#include <vector>

#include "gradwise/core/random_state.h"
#include "tests/data/error_of.h"

namespace gradwise {
namespace {

// A user's own module: one word of it is changed.
struct NetImpl : torch::nn::Module {
  NetImpl() {
    first = register_module("first", torch::nn::Linear(3, 4));
    last = register_module("last", torch::nn::Linear(4, 2));
  }
  at::Tensor forward(const at::Tensor& x) { return last(first(x).relu()); }
  Hooked<torch::nn::Linear> first{nullptr};
  torch::nn::Linear last{nullptr};
};
TORCH_MODULE(Net);

// A Sequential inside another needs a forward without templates.
struct InnerImpl : torch::nn::SequentialImpl {
  using SequentialImpl::SequentialImpl;
  at::Tensor forward(const at::Tensor& x) { return SequentialImpl::forward(x); }
};
TORCH_MODULE(Inner);

torch::nn::Sequential stacked() {
  return torch::nn::Sequential(torch::nn::Linear(3, 4), torch::nn::ReLU(),
                               Inner(torch::nn::Linear(4, 4), torch::nn::Tanh()), torch::nn::Linear(4, 2));
}

TEST(ModuleHooks, OfAUsersOwnModule) {
  seed_everything(1);
  Net net;
  const at::Tensor x = at::randn({5, 3});
  const at::Tensor plain = net->forward(x);
  std::vector<std::string> told;
  LayerHooks& hooks = net->first.hooks("first");
  HookHandle handle = hooks.on_forward([&told](const std::string& layer, const at::Tensor&, const at::Tensor& output) {
    told.push_back(layer + std::to_string(output.size(1)));
    return at::Tensor();
  });
  EXPECT_TRUE(net->forward(x).equal(plain));
  EXPECT_EQ(told, std::vector<std::string>{"first4"});
  handle.remove();
  handle.remove();
  (void)net->forward(x);
  EXPECT_EQ(told.size(), 1U);
  EXPECT_EQ(net->named_parameters().size(), 4U);
}

TEST(ModuleHooks, MayChangeInputAndOutput) {
  seed_everything(2);
  Net net;
  const at::Tensor x = at::randn({5, 3});
  LayerHooks& hooks = net->first.hooks("first");
  HookHandle before = hooks.on_pre_forward([](const std::string&, const at::Tensor& input) { return input.mul(0); });
  EXPECT_TRUE(net->first(x).equal(net->first->bias.expand({5, 4})));
  before.remove();
  (void)hooks.on_forward([](const std::string&, const at::Tensor&, const at::Tensor& output) { return output.mul(2); });
  EXPECT_TRUE(net->first(x).equal(net->first->forward(x).mul(2)));
}

TEST(ModuleHooks, SeeTheGradientsOfALayer) {
  seed_everything(3);
  torch::nn::Sequential net = stacked();
  at::Tensor x = at::randn({5, 3}).requires_grad_();
  std::vector<std::string> order;
  at::Tensor grad_input;
  at::Tensor grad_output;
  {
    SequentialHooks hooks(net);
    (void)hooks.on_backward([&](const std::string& layer, const at::Tensor& input, const at::Tensor& output) {
      order.push_back(layer);
      if (layer == "0") {
        grad_input = input;
        grad_output = output;
      }
    });
    net->forward(x).square().sum().backward();
  }
  EXPECT_EQ(order, (std::vector<std::string>{"3", "2.1", "2.0", "2", "1", "0"}));
  EXPECT_TRUE(grad_input.equal(x.grad()));
  const at::Tensor weight = net->named_parameters()["0.weight"];
  EXPECT_TRUE(at::allclose(grad_output.t().mm(x.detach()), weight.grad()));
  order.clear();
  net->forward(x).sum().backward();
  EXPECT_TRUE(order.empty()) << "the layers are back as they were";
}

TEST(ModuleHooks, TellOfAFirstLayerWhoseInputAsksForNothing) {
  torch::nn::Sequential net = stacked();
  SequentialHooks hooks(net, "net");
  std::vector<std::string> without_input;
  (void)hooks.on_backward([&](const std::string& layer, const at::Tensor& input, const at::Tensor& output) {
    EXPECT_TRUE(output.defined());
    if (!input.defined()) {
      without_input.push_back(layer);
    }
  });
  net->forward(at::randn({5, 3})).sum().backward();
  EXPECT_EQ(without_input, std::vector<std::string>{"net.0"});
}

TEST(ModuleHooks, LeaveASequentialsParameters) {
  seed_everything(4);
  torch::nn::Sequential net = stacked();
  const at::Tensor x = at::randn({5, 3});
  const at::Tensor plain = net->forward(x);
  std::vector<std::string> names;
  for (const auto& parameter : net->named_parameters()) {
    names.push_back(parameter.key());
  }
  int calls = 0;
  SequentialHooks hooks(net);
  (void)hooks.on_forward([&calls](const std::string&, const at::Tensor&, const at::Tensor&) {
    ++calls;
    return at::Tensor();
  });
  EXPECT_TRUE(net->forward(x).equal(plain));
  EXPECT_EQ(calls, 6);
  std::size_t i = 0;
  for (const auto& parameter : net->named_parameters()) {
    EXPECT_EQ(parameter.key(), names[i++]);
  }
  EXPECT_ERROR_WITH("layer 0 has hooks; end the SequentialHooks before the model is cloned", net->clone());
}

TEST(ModuleHooks, ShowLayersToAutogradHooks) {
  torch::nn::Sequential net = stacked();
  AutogradHooks hooks(NamedParameters{});
  SequentialHooks layers(net);
  (void)observe_with(layers, hooks);
  net->forward(at::randn({5, 3})).sum().backward();
  EXPECT_EQ(hooks.records().size(), 12U);
  EXPECT_EQ(hooks.record(HookKind::activation_gradient, "2.1").shape, (std::vector<std::int64_t>{5, 4}));
}

}  // namespace
}  // namespace gradwise
