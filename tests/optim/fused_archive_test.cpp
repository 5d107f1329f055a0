// torch::save and torch::load of the one-pass optimizers.
#include <gtest/gtest.h>
#include <torch/serialize.h>

#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "gradwise/optim/fused_optimizer.h"
#include "gradwise/optim/torch_optimizers.h"
#include "tests/data/error_of.h"
#include "tests/optim/toy_model.h"

namespace gradwise {
namespace {

std::unique_ptr<torch::optim::Optimizer> archived(const std::string& name, double lr,
                                                  const std::vector<at::Tensor>& tensors) {
  OptimizerOptions options{.name = name, .lr = lr, .decay_vectors = false};
  options.amsgrad = options.centered = true;
  options.momentum = 0.9;
  return make_optimizer(options, NamedParameters{{"weight", "bias"}, tensors});
}

void step_by(torch::optim::Optimizer& optimizer, const std::vector<at::Tensor>& tensors, unsigned int from) {
  for (unsigned int step = from; step < from + 3; ++step) {
    for (const at::Tensor& tensor : tensors) {
      at::Tensor(tensor).mutable_grad() = random_tensor(tensor.sizes(), step).to(tensor.scalar_type());
    }
    optimizer.step();
  }
}

std::vector<at::Tensor> archived_tensors(at::ScalarType type) {
  std::vector<at::Tensor> tensors{random_tensor({6, 7}, 1).to(type).t(), random_tensor({5}, 2).to(type)};
  for (at::Tensor& tensor : tensors) {
    tensor = tensor.detach().requires_grad_();
  }
  return tensors;
}

class FusedArchive : public testing::TestWithParam<std::string> {};

TEST_P(FusedArchive, GoesOnFromAnArchiveWithTheSameBits) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    const std::vector<at::Tensor> whole = archived_tensors(type);
    const auto first = archived(GetParam(), 0.01, whole);
    step_by(*first, whole, 10);
    std::stringstream stream;
    torch::save(*first, stream);
    const std::vector<at::Tensor> resumed = archived_tensors(type);
    write_into(resumed, whole);
    const auto second = archived(GetParam(), 0.5, resumed);
    torch::load(*second, stream);
    EXPECT_EQ(second->param_groups()[0].options().get_lr(), 0.01);
    step_by(*first, whole, 20);
    step_by(*second, resumed, 20);
    expect_same_bits(resumed, whole);
  }
}

INSTANTIATE_TEST_SUITE_P(All, FusedArchive, testing::Values("adamw", "adam", "sgd", "rmsprop", "adagrad", "lion"));

TEST(FusedArchiveErrors, NameWhatDiffers) {
  const std::vector<at::Tensor> tensors = archived_tensors(at::kFloat);
  const auto saved = archived("adamw", 0.01, tensors);
  step_by(*saved, tensors, 10);
  std::stringstream stream;
  torch::save(*saved, stream);
  const std::string bytes = stream.str();
  const auto load_into = [&bytes](torch::optim::Optimizer& optimizer) {
    std::istringstream from(bytes);
    torch::load(optimizer, from);
  };
  EXPECT_ERROR_WITH("another kind of optimizer", load_into(*archived("sgd", 0.01, tensors)));
  EXPECT_ERROR_WITH("another kind of optimizer", load_into(*archived("adam", 0.01, tensors)));
  const auto one = make_optimizer({.name = "adamw"}, NamedParameters{{"weight"}, {tensors[0]}});
  EXPECT_ERROR_WITH("the saved state has 2 parameter groups, this optimizer 1", load_into(*one));
  const std::vector<at::Tensor> others{random_tensor({7, 5}, 1).requires_grad_(), tensors[1]};
  EXPECT_ERROR_WITH("the saved state of parameter 0 has shape [7, 6], the parameter [7, 5]",
                    load_into(*archived("adamw", 0.01, others)));
}

}  // namespace
}  // namespace gradwise
