#include "tests/rules/histories.h"

namespace gradwise {
namespace {

TEST(DeadUnits, OfOneLayerInThreeReadings) {
  const auto dying = [](double share) {
    return [share](DraftStep& step) { step.reading.activations[1].dead = share; };
  };
  EXPECT_EQ(layers_found(dead_units(), training(20, dying(0.9))), std::vector<std::string>{"2"});
  EXPECT_FALSE(fires(dead_units(), training(20)));
  EXPECT_FALSE(fires(dead_units(), training(20, dying(0.49))));
  EXPECT_FALSE(fires(dead_units(), training(2, dying(0.9)))) << "two readings are not enough";
}

}  // namespace
}  // namespace gradwise
