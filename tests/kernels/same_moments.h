#pragma once

#include <gtest/gtest.h>

#include "gradwise/kernels/moments.h"

namespace gradwise::kernels {

/// Counts and bounds have to be equal; sums within `rounding`, as a share of what was summed. 0: the same bits.
inline void expect_same(const Moments& found, const Moments& reference, double rounding) {
  EXPECT_EQ(found.count, reference.count);
  EXPECT_EQ(found.zeros, reference.zeros);
  EXPECT_EQ(found.nans, reference.nans);
  EXPECT_EQ(found.infs, reference.infs);
  EXPECT_EQ(found.min, reference.min);
  EXPECT_EQ(found.max, reference.max);
  EXPECT_NEAR(found.sum, reference.sum, rounding * reference.sum_abs);
  EXPECT_NEAR(found.sum_abs, reference.sum_abs, rounding * reference.sum_abs);
  EXPECT_NEAR(found.sum_squares, reference.sum_squares, rounding * reference.sum_squares);
}

}  // namespace gradwise::kernels
