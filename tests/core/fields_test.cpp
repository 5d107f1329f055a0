#include "gradwise/core/fields.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace gradwise {
namespace {

struct InnerOptions {
  double decay = 0.9;
  std::vector<std::int64_t> sizes = {1, 2};
};

template <class Fields>
void describe(Fields& fields, InnerOptions& o) {
  fields.add("decay", o.decay, "of the average", from_below(0, 1));
  fields.add("sizes", o.sizes, "widths", at_least(1));
}

struct BoxOptions {
  std::string kind = "a";
  std::int64_t count = 1;
  double rate = 0.5;
  double part = 1;
  bool open = false;
  std::vector<double> scales = {};
  std::vector<std::string> words = {};
  InnerOptions inner = {};
};

template <class Fields>
void describe(Fields& fields, BoxOptions& o) {
  fields.add("kind", o.kind, "which", one_of({"a", "b"}));
  fields.add("count", o.count, "how many", at_least(1));
  fields.add("rate", o.rate, "how fast", positive());
  fields.add("part", o.part, "how much", between(-0.5, 1));
  fields.add("open", o.open, "whether", anything());
  fields.add("scales", o.scales, "factors", positive());
  fields.add("words", o.words, "names", one_of({"l", "r"}));
  fields.group("inner", o.inner, "the inside");
}

struct FieldCase {
  const char* name;
  std::function<void(BoxOptions&)> change;
  const char* message;  ///< empty: allowed
};

class FieldRules : public testing::TestWithParam<FieldCase> {};

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST_P(FieldRules, GiveThisMessage) {
  BoxOptions options;
  GetParam().change(options);
  std::string message;
  try {
    check_fields("box", options);
  } catch (const Error& error) {
    message = error.what();
    EXPECT_EQ(error.kind(), ErrorKind::usage);
  }
  EXPECT_EQ(message, GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    All, FieldRules,
    testing::Values(
        FieldCase{"defaults", [](BoxOptions&) {}, ""},
        FieldCase{"edges", [](BoxOptions& o) { o.part = -0.5, o.inner.decay = 0; }, ""},
        FieldCase{"infinity", [](BoxOptions& o) { o.rate = kInfinity; }, ""},
        FieldCase{"word", [](BoxOptions& o) { o.kind = "c"; }, "[box] kind is \"c\", allowed: a, b"},
        FieldCase{"empty_word", [](BoxOptions& o) { o.kind = ""; }, "[box] kind is \"\", allowed: a, b"},
        FieldCase{"integer", [](BoxOptions& o) { o.count = 0; }, "[box] count is 0, allowed: >= 1"},
        FieldCase{"zero", [](BoxOptions& o) { o.rate = 0; }, "[box] rate is 0, allowed: > 0"},
        FieldCase{"nan", [](BoxOptions& o) { o.rate = kNan; }, "[box] rate is nan, allowed: a number > 0"},
        FieldCase{"low", [](BoxOptions& o) { o.part = -0.75; }, "[box] part is -0.75, allowed: from -0.5 to 1"},
        FieldCase{"high", [](BoxOptions& o) { o.part = 1.25; }, "[box] part is 1.25, allowed: from -0.5 to 1"},
        FieldCase{"element",
                  [](BoxOptions& o) {
                    o.scales = {1, -2};
                  },
                  "[box] scales[1] is -2, allowed: > 0"},
        FieldCase{"list_of_words",
                  [](BoxOptions& o) {
                    o.words = {"l", "x"};
                  },
                  "[box] words[1] is \"x\", allowed: l, r"},
        FieldCase{"nested", [](BoxOptions& o) { o.inner.decay = 1; },
                  "[box] inner.decay is 1, allowed: from 0 to below 1"},
        FieldCase{"nested_element", [](BoxOptions& o) { o.inner.sizes = {0}; },
                  "[box] inner.sizes[0] is 0, allowed: >= 1"}),
    [](const testing::TestParamInfo<FieldCase>& info) { return std::string(info.param.name); });

TEST(Fields, TheCheckChangesNothing) {
  BoxOptions options;
  options.words = {"r"};
  check_fields("box", options);
  EXPECT_EQ(options.words, std::vector<std::string>{"r"});
  EXPECT_EQ(options.inner.sizes, (std::vector<std::int64_t>{1, 2}));
}

TEST(Fields, ListWords) {
  EXPECT_EQ(comma_separated({}), "");
  EXPECT_EQ(comma_separated({"a"}), "a");
  EXPECT_EQ(comma_separated({"a", "b", "c"}), "a, b, c");
  EXPECT_EQ(one_of({"a", "b"}).text, "a, b");
}

TEST(Errors, BuildTheirMessageOnlyWhenTheyFail) {
  int built = 0;
  const auto part = [&built] {
    ++built;
    return 7;
  };
  GRADWISE_CHECK(true, "place", "value is ", part());
  EXPECT_EQ(built, 0);
  EXPECT_THROW(GRADWISE_CHECK(false, "place", "value is ", part()), Error);
  EXPECT_EQ(built, 1);
}

TEST(Errors, ShowTenDigits) {
  try {
    fail("place", "value is ", 0.123456789);
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "[place] value is 0.123456789");
    EXPECT_EQ(error.kind(), ErrorKind::failure);
  }
}

}  // namespace
}  // namespace gradwise
