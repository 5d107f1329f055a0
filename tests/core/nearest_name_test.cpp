#include "gradwise/core/nearest_name.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace gradwise {
namespace {

const std::vector<std::string> kKnown = {"adamw", "adam", "sgd", "rmsprop", "learning_rate"};

struct NearestCase {
  const char* name;
  const char* nearest;
};

TEST(NearestName, FindsSlipsOnly) {
  const NearestCase cases[] = {{"adamw", "adamw"},
                               {"adammw", "adamw"},
                               {"adaam", "adam"},
                               {"sdg", "sgd"},
                               {"rmspop", "rmsprop"},
                               {"learningrate", "learning_rate"},
                               {"lerning_rat", "learning_rate"},
                               {"learning_speed", "learning_rate"},
                               {"lbfgs", ""},
                               {"something_else", ""}};
  for (const NearestCase& c : cases) {
    EXPECT_EQ(nearest_name(c.name, kKnown), c.nearest) << c.name;
  }
  EXPECT_EQ(nearest_name("adam", {}), "");
}

TEST(DidYouMean, IsATailOrNothing) {
  EXPECT_EQ(did_you_mean("adammw", kKnown), "; did you mean \"adamw\"?");
  EXPECT_EQ(did_you_mean("lbfgs", kKnown), "");
}

struct PatternCase {
  const char* name;
  const char* pattern;
  bool matches;
};

TEST(MatchesPattern, FollowsTheShell) {
  const PatternCase cases[] = {{"head.weight", "head.weight", true},
                               {"head.weight", "head.*", true},
                               {"head.", "head.*", true},
                               {"ahead.weight", "head.*", false},
                               {"layer.1.weight", "layer.?.weight", true},
                               {"layer.12.weight", "layer.?.weight", false},
                               {"layer.12.weight", "layer.*.weight", true},
                               {"layer.12.bias", "layer.*.weight", false},
                               {"a.bias", "*bias", true},
                               {"a.bias.b", "*bias", false},
                               {"abcbcd", "a*bcd", true},
                               {"abab", "*ab*ab", true},
                               {"ab", "*ab*ab", false},
                               {"x*y", "x?y", true},
                               {"", "*", true},
                               {"", "", true},
                               {"a", "", false},
                               {"", "?", false},
                               {"any", "***", true}};
  for (const PatternCase& c : cases) {
    EXPECT_EQ(matches_pattern(c.name, c.pattern), c.matches) << c.name << " and " << c.pattern;
  }
}

TEST(LayerOf, IsTheNameWithoutItsLastPart) {
  EXPECT_EQ(layer_of("features.0.weight"), "features.0");
  EXPECT_EQ(layer_of("weight"), "weight");
}

}  // namespace
}  // namespace gradwise
