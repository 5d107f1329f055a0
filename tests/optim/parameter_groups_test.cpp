#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "gradwise/optim/autograd_optimizer.h"
#include "tests/data/error_of.h"
#include "tests/optim/toy_model.h"

namespace gradwise {
namespace {

struct Setting {
  double lr;
  double weight_decay;
};

struct GroupCase {
  const char* name;
  std::vector<std::string> rules;
  bool decay_vectors;
  std::vector<Setting> expected;  ///< of layer.weight, layer.bias, head.weight, head.bias
  std::size_t groups;
};

class ParameterGroups : public testing::TestWithParam<GroupCase> {};

// One step of plain SGD by hand: w - lr * (g + decay * w).
TEST_P(ParameterGroups, HaveTheirOwnRateAndDecay) {
  const GroupCase& c = GetParam();
  const Batch batch = toy_batch(16, 100, at::kDouble);
  const Model model = toy_model(1, at::kDouble);
  const std::vector<at::Tensor> weights = copies_of(model.parameters.tensors);
  const std::vector<at::Tensor> gradients = gradients_of(model, batch);
  OptimizerOptions options;
  options.name = "sgd";
  options.lr = 0.5;
  options.weight_decay = 0.25;
  options.groups = c.rules;
  options.decay_vectors = c.decay_vectors;
  AutogradOptimizerOptions no_clip;
  no_clip.clip.method = "none";
  AutogradOptimizer optimizer(model, options, no_clip);
  EXPECT_EQ(optimizer.rates().size(), c.groups);
  (void)optimizer.step(squared_error, batch.input, batch.target);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    SCOPED_TRACE(model.parameters.names[i]);
    const Setting& s = c.expected[i];
    const at::Tensor expected = weights[i].sub(gradients[i].add(weights[i].mul(s.weight_decay)).mul(s.lr));
    expect_close(model.parameters.tensors[i], expected, 1e-14);
  }
}

constexpr Setting kPlain{0.5, 0.25};

INSTANTIATE_TEST_SUITE_P(
    All, ParameterGroups,
    testing::Values(
        GroupCase{"one_group", {}, true, {kPlain, kPlain, kPlain, kPlain}, 1},
        GroupCase{"no_decay_on_vectors", {}, false, {kPlain, {0.5, 0}, kPlain, {0.5, 0}}, 2},
        GroupCase{"by_name", {"head.* lr=0.125 weight_decay=0"}, true, {kPlain, kPlain, {0.125, 0}, {0.125, 0}}, 2},
        GroupCase{"only_decay", {"*.bias weight_decay=0"}, true, {kPlain, {0.5, 0}, kPlain, {0.5, 0}}, 2},
        GroupCase{"only_rate", {"*weight lr=1e-3"}, false, {{1e-3, 0.25}, {0.5, 0}, {1e-3, 0.25}, {0.5, 0}}, 2},
        GroupCase{"first_match_wins",
                  {"head.bias lr=0", "head.* lr=1", "* weight_decay=0.5"},
                  true,
                  {{0.5, 0.5}, {0.5, 0.5}, {1, 0.25}, {0, 0.25}},
                  3},
        GroupCase{"a_rule_beats_decay_vectors",
                  {"layer.bias weight_decay=0.125"},
                  false,
                  {kPlain, {0.5, 0.125}, kPlain, {0.5, 0}},
                  3},
        // The rate of the second group is the default of LibTorch's SGDOptions, which LibTorch takes for unset.
        GroupCase{"torchs_default_rate",
                  {"head.* lr=0.001 weight_decay=0"},
                  true,
                  {kPlain, kPlain, {1e-3, 0}, {1e-3, 0}},
                  2}),
    [](const testing::TestParamInfo<GroupCase>& info) { return std::string(info.param.name); });

TEST(GroupRule, IsParsedFromText) {
  const GroupRule both = parse_group_rule("  head.*  lr=1e-4   weight_decay=0 ");
  EXPECT_EQ(both.pattern, "head.*");
  EXPECT_EQ(both.lr, 1e-4);
  EXPECT_EQ(both.weight_decay, 0.0);
  const GroupRule none = parse_group_rule("head.bias");
  EXPECT_EQ(none.pattern, "head.bias");
  EXPECT_FALSE(none.lr.has_value() || none.weight_decay.has_value());
}

TEST(GroupRule, SaysWhatIsWrong) {
  EXPECT_ERROR_WITH("a rule is empty", parse_group_rule("  "));
  EXPECT_ERROR_WITH("\"rate=1\" in \"head.* rate=1\", allowed: lr=<number>", parse_group_rule("head.* rate=1"));
  EXPECT_ERROR_WITH("the value \"fast\" is not a number", parse_group_rule("head.* lr=fast"));
  EXPECT_ERROR_WITH("the value \"\" is not a number", parse_group_rule("head.* lr="));
  EXPECT_ERROR_WITH("the value \"-1\" is not a number >= 0", parse_group_rule("head.* lr=-1"));
  EXPECT_ERROR_WITH("the value \"1x\" is not a number", parse_group_rule("head.* lr=1x"));
}

TEST(GroupRule, ThatFitsNoParameterIsAnError) {
  OptimizerOptions options;
  options.groups = {"haed.weight lr=0"};
  EXPECT_ERROR_WITH("no parameter's name matches \"haed.weight\"; did you mean \"head.weight\"?",
                    AutogradOptimizer(toy_model(), options));
}

}  // namespace
}  // namespace gradwise
