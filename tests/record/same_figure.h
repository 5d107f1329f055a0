#pragma once

#include <gtest/gtest.h>

#include <cmath>

namespace gradwise {

/// Equal, or neither measured.
inline void expect_same_figure(double seen, double wanted) {
  EXPECT_TRUE(seen == wanted || (std::isnan(seen) && std::isnan(wanted))) << seen << " is not " << wanted;
}

}  // namespace gradwise
