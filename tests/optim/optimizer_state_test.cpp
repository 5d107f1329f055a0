#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

#include "gradwise/optim/autograd_optimizer.h"
#include "tests/data/error_of.h"
#include "tests/optim/toy_model.h"

namespace gradwise {
namespace {

struct StateCase {
  std::string label;
  OptimizerOptions options;
};

void PrintTo(const StateCase& c, std::ostream* out) { *out << c.label; }

std::vector<StateCase> state_cases() {
  std::vector<StateCase> cases;
  for (const std::string& name : optimizer_names()) {
    OptimizerOptions options;
    options.name = name;
    options.lr = name == "lbfgs" ? 0.5 : 0.01;
    options.max_iter = 3;
    cases.push_back({name, options});
  }
  OptimizerOptions amsgrad;
  amsgrad.amsgrad = true;
  cases.push_back({"adamw_amsgrad", amsgrad});
  OptimizerOptions momentum;
  momentum.name = "sgd";
  momentum.momentum = 0.9;
  momentum.nesterov = true;
  cases.push_back({"sgd_momentum", momentum});
  OptimizerOptions centered;
  centered.name = "rmsprop";
  centered.momentum = 0.5;
  centered.centered = true;
  cases.push_back({"rmsprop_centered", centered});
  OptimizerOptions decaying;
  decaying.name = "adagrad";
  decaying.lr_decay = 0.1;
  cases.push_back({"adagrad_decay", decaying});
  OptimizerOptions grouped;
  grouped.decay_vectors = false;
  cases.push_back({"adamw_groups", grouped});
  return cases;
}

/// As it comes back from disk: nothing shared, numbers through JSON text.
State through_disk(const State& state) {
  State read;
  read.values = nlohmann::json::parse(state.values.dump());
  for (const auto& [name, tensor] : state.tensors) {
    read.tensors[name] = tensor.clone();
  }
  return read;
}

void take_steps(AutogradOptimizer& optimizer, unsigned int from, unsigned int to) {
  for (unsigned int step = from; step < to; ++step) {
    const Batch batch = toy_batch(8, 200 + 2 * step);
    (void)optimizer.step(squared_error, batch.input, batch.target);
  }
}

class OptimizerState : public testing::TestWithParam<StateCase> {};

TEST_P(OptimizerState, ContinuesBitIdentically) {
  const Model model = toy_model(1);
  AutogradOptimizer optimizer(model, GetParam().options);
  take_steps(optimizer, 0, 4);
  std::vector<Rate> rates = optimizer.rates();
  rates[0].lr *= 0.5;  // as a schedule would have it
  optimizer.set_rates(rates);
  const State saved = through_disk(optimizer.state());

  const Model other = toy_model(50);
  write_into(other.parameters.tensors, model.parameters.tensors);
  AutogradOptimizer continued(other, GetParam().options);
  continued.load_state(saved);
  EXPECT_EQ(continued.steps(), 4);
  EXPECT_EQ(continued.rates()[0].lr, rates[0].lr);
  take_steps(optimizer, 4, 8);
  take_steps(continued, 4, 8);
  expect_same_bits(other.parameters.tensors, model.parameters.tensors);
}

INSTANTIATE_TEST_SUITE_P(All, OptimizerState, testing::ValuesIn(state_cases()),
                         [](const testing::TestParamInfo<StateCase>& info) { return info.param.label; });

TEST(OptimizerStateFields, CountSkippedStepsAndWhatWasTold) {
  Model model = toy_model();
  model.parameters.add("forgotten", random_tensor({3}, 5).requires_grad_());
  AutogradOptimizer optimizer(model);
  take_steps(optimizer, 0, 1);
  optimizer.accumulate(squared_error, toy_batch(4));
  (void)optimizer.abandon_step();
  AutogradOptimizer continued(model);
  continued.load_state(through_disk(optimizer.state()));
  EXPECT_EQ(continued.steps(), 2);
  EXPECT_EQ(continued.skipped_steps(), 1);
  const Batch batch = toy_batch(4);
  EXPECT_TRUE(continued.step(squared_error, batch.input, batch.target).issues.empty()) << "told before";
}

TEST(OptimizerStateErrors, NameWhatDiffers) {
  OptimizerOptions sgd;
  sgd.name = "sgd";
  sgd.momentum = 0.9;
  AutogradOptimizer adamw(toy_model());
  take_steps(adamw, 0, 1);
  const State saved = through_disk(adamw.state());
  AutogradOptimizer other_kind(toy_model(), sgd);
  EXPECT_ERROR_WITH("the saved state is of \"AdamW\", this optimizer is \"SGD\"", other_kind.load_state(saved));

  OptimizerOptions grouped;
  grouped.decay_vectors = false;
  AutogradOptimizer other_groups(toy_model(), grouped);
  EXPECT_ERROR_WITH("the saved state has 1 parameter groups, this optimizer 2", other_groups.load_state(saved));

  Model wide = toy_model();
  wide.parameters.tensors[1] = random_tensor({9}, 1).requires_grad_();
  AutogradOptimizer other_shape(wide);
  EXPECT_ERROR_WITH("of \"layer.bias\" has shape [8], the parameter [9]", other_shape.load_state(saved));
}

}  // namespace
}  // namespace gradwise
