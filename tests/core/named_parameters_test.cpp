#include "gradwise/core/named_parameters.h"

#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "gradwise/core/batch.h"
#include "tests/data/error_of.h"

namespace gradwise {
namespace {

NamedParameters three_parameters() {
  NamedParameters parameters;
  parameters.add("layer.weight", at::empty({3, 4}).requires_grad_());
  parameters.add("layer.frozen", at::empty({5}));
  parameters.add("scale", at::empty({}).requires_grad_());
  return parameters;
}

TEST(NamedParameters, CountsElementsOfAllTensors) {
  EXPECT_EQ(three_parameters().numel(), 12 + 5 + 1);
  EXPECT_EQ(NamedParameters().numel(), 0);
}

TEST(NamedParameters, TrainableKeepsOrderAndStorage) {
  const NamedParameters all = three_parameters();
  const NamedParameters trainable = all.trainable();
  EXPECT_EQ(trainable.names, (std::vector<std::string>{"layer.weight", "scale"}));
  ASSERT_EQ(trainable.size(), 2U);
  EXPECT_TRUE(trainable.tensors[0].is_same(all.tensors[0]));
  EXPECT_TRUE(trainable.tensors[1].is_same(all.tensors[2]));
}

TEST(NamedParameters, IndexFindsAndSuggests) {
  const NamedParameters parameters = three_parameters();
  EXPECT_EQ(parameters.index("layer.frozen"), 1U);
  EXPECT_ERROR_WITH("[parameters] there is no parameter \"layer.wieght\"; did you mean \"layer.weight\"?",
                    parameters.index("layer.wieght"));
  EXPECT_ERROR_WITH("there is no parameter \"nothing like it\"", parameters.index("nothing like it"));
}

TEST(NamedParameters, MatchingKeepsWhatAPatternMatches) {
  const NamedParameters all = three_parameters();
  EXPECT_EQ(all.matching({"scale", "*.weight"}, "test").names, (std::vector<std::string>{"layer.weight", "scale"}));
  EXPECT_EQ(all.matching({}, "test").names, all.names);
  EXPECT_ERROR_WITH("[test] parameters: no parameter's name matches \"scala\"; did you mean \"scale\"?",
                    all.matching({"layer.*", "scala"}, "test"));
}

TEST(NamedParameters, RefuseComplexOnesThatAskForAGradient) {
  NamedParameters parameters = three_parameters();
  parameters.add("phase", at::empty({2}, at::kComplexFloat));
  EXPECT_NO_THROW(parameters.check_types("test"));
  parameters.tensors.back().requires_grad_();
  EXPECT_ERROR_WITH("[test] phase is ComplexFloat, allowed: real numbers", parameters.check_types("test"));
}

TEST(Batch, SizeIsTheFirstDimension) {
  Batch batch;
  batch.input = at::empty({7, 2});
  EXPECT_EQ(batch.size(), 7);
  batch.input = at::empty({});
  EXPECT_EQ(batch.size(), 1);
}

}  // namespace
}  // namespace gradwise
