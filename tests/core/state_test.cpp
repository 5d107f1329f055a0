#include "gradwise/core/state.h"

#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "tests/data/error_of.h"

namespace gradwise {
namespace {

at::Tensor filled(double value) { return at::empty({2}).fill_(value); }

State small_state(double value) {
  State state;
  state.values["count"] = value;
  state.tensors["x"] = filled(value);
  return state;
}

TEST(State, NestedGivesBackWhatNestPut) {
  State all;
  all.nest("a", small_state(1));
  all.nest("ab", small_state(2));
  all.values["own"] = true;
  const State part = all.nested("a");
  EXPECT_EQ(part.values.dump(), "{\"count\":1.0}");
  ASSERT_EQ(part.tensors.size(), 1U) << "\"a\" must not take the tensors of \"ab\"";
  EXPECT_TRUE(part.tensors.at("x").equal(filled(1)));
  EXPECT_TRUE(all.nested("ab").tensors.at("x").equal(filled(2)));
}

TEST(State, NestsInSeveralLevels) {
  State inner;
  inner.nest("b", small_state(3));
  State outer;
  outer.nest("a", inner);
  EXPECT_TRUE(outer.tensors.contains("a/b/x"));
  const State part = outer.nested("a").nested("b");
  EXPECT_EQ(part.values.at("count").get<double>(), 3.0);
  EXPECT_TRUE(part.tensors.at("x").equal(filled(3)));
}

TEST(State, NestingAgainReplaces) {
  State all;
  all.nest("a", small_state(1));
  all.nest("a", small_state(2));
  EXPECT_EQ(all.nested("a").values.at("count").get<double>(), 2.0);
  EXPECT_TRUE(all.nested("a").tensors.at("x").equal(filled(2)));
}

TEST(State, NestedIsEmptyWhereThereIsNothing) {
  const State part = State().nested("none");
  EXPECT_TRUE(part.values.is_object() && part.values.empty());
  EXPECT_TRUE(part.tensors.empty());
}

TEST(JsonNumber, SurvivesJsonText) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double value : {0.0, -1.5, 0.1, 1e-308, 1.7976931348623157e308, infinity, -infinity}) {
    const std::string text = to_json_number(value).dump();
    EXPECT_EQ(from_json_number(nlohmann::json::parse(text)), value) << text;
  }
  const std::string text = to_json_number(std::numeric_limits<double>::quiet_NaN()).dump();
  EXPECT_EQ(text, "\"nan\"");
  EXPECT_TRUE(std::isnan(from_json_number(nlohmann::json::parse(text))));
}

TEST(JsonNumber, RefusesAnythingElse) {
  EXPECT_ERROR_WITH("found \"many\"", from_json_number("many"));
  EXPECT_ERROR_WITH("found null", from_json_number(nlohmann::json()));
  EXPECT_ERROR_WITH("found [1]", from_json_number(nlohmann::json::array({1})));
}

}  // namespace
}  // namespace gradwise
