// Damped, restricted and block-diagonal forms against the same cut out of a full matrix.
#include <ATen/ops/eye.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <cmath>

#include "gradwise/core/random_state.h"
#include "gradwise/curvature/block_diagonal.h"
#include "gradwise/curvature/damped.h"
#include "gradwise/curvature/hessian.h"
#include "gradwise/curvature/restricted.h"
#include "tests/curvature/dense.h"
#include "tests/curvature/small_net.h"
#include "tests/data/error_of.h"

namespace gradwise {
namespace {

class DerivedOperators : public testing::Test {
 protected:
  void SetUp() override {
    seed_everything(14);
    const at::Tensor a = at::randn({40, 40}, at::kDouble);
    full = a.add(a.t());
  }
  at::Tensor full;
};

TEST_F(DerivedOperators, DampingIsAddedToTheDiagonal) {
  const Dense matrix(full);
  EXPECT_TRUE(matrix_of(Damped(matrix, 0.5)).allclose(full.add(at::eye(40, at::kDouble), 0.5), 1e-12, 1e-12));
  const at::Tensor v = at::randn({40}, at::kDouble);
  EXPECT_TRUE(Damped(matrix, 0.5).apply(v).allclose(full.mv(v).add(v, 0.5), 1e-12, 1e-12));
  EXPECT_ERROR_WITH("[damped] damping is -1, allowed: >= 0", Damped(matrix, -1));
  EXPECT_ERROR_WITH("[damped] damping is nan", Damped(matrix, NAN));
}

TEST_F(DerivedOperators, RestrictionKeepsTheChosenRowsAndColumns) {
  const Dense matrix(full);
  const Restricted chosen(matrix, {"chosen", {{30, 2}, {3, 4}}});
  const at::Tensor rows = at::cat({full.narrow(0, 30, 2), full.narrow(0, 3, 4)});
  const at::Tensor expected = at::cat({rows.narrow(1, 30, 2), rows.narrow(1, 3, 4)}, 1);
  EXPECT_TRUE(matrix_of(chosen).allclose(expected, 1e-12, 1e-12));
  const at::Tensor v = at::randn({6}, at::kDouble);
  EXPECT_TRUE(chosen.apply(v).allclose(expected.mv(v), 1e-12, 1e-12));
  EXPECT_ERROR_WITH("[restricted] the columns have the shape [40, 1], allowed: [6, any]",
                    chosen.apply(at::zeros({40}, at::kDouble)));
  EXPECT_ERROR_WITH("[restricted] rows 39 to 41, allowed: within the 40", Restricted(matrix, {"x", {{39, 2}}}));
  EXPECT_ERROR_WITH("[restricted] row 4 comes twice", Restricted(matrix, {"x", {{4, 2}, {3, 2}}}));
  EXPECT_ERROR_WITH("[restricted] the block \"x\" has no rows", Restricted(matrix, {"x", {}}));
}

TEST_F(DerivedOperators, BlocksKeepWhatIsWithinThem) {
  const Dense matrix(full);
  // 20 blocks of one row and one of two ranges: more pairs of a column and a block than go at once.
  std::vector<RowBlock> blocks{{"two ranges", {{0, 3}, {30, 5}}}};
  at::Tensor kept = at::zeros_like(full);
  for (const RowRange& rows : blocks[0].rows) {
    for (const RowRange& columns : blocks[0].rows) {
      kept.narrow(0, rows.first, rows.count).narrow(1, columns.first, columns.count).fill_(1);
    }
  }
  for (std::int64_t row = 5; row < 25; ++row) {
    blocks.push_back({"row", {{row, 1}}});
    kept.narrow(0, row, 1).narrow(1, row, 1).fill_(1);
  }
  const BlockDiagonal found(matrix, blocks);
  const at::Tensor expected = full.mul(kept);
  EXPECT_TRUE(matrix_of(found).allclose(expected, 1e-12, 1e-12));
  const at::Tensor v = at::randn({40}, at::kDouble);
  EXPECT_TRUE(found.apply(v).allclose(expected.mv(v), 1e-12, 1e-12));
  EXPECT_ERROR_WITH("[block_diagonal] there is no block", BlockDiagonal(matrix, {}));
}

TEST_F(DerivedOperators, BlocksAreThoseOfParametersAndLayers) {
  const SmallNet net;
  const Hessian matrix(net.model(), kClassLoss, net.cut(net.classes, {6, 5}));
  const at::Tensor whole = matrix_of(matrix);
  const auto with_blocks = [&whole](const std::vector<std::int64_t>& sizes) {
    at::Tensor expected = at::zeros_like(whole);
    std::int64_t first = 0;
    for (const std::int64_t size : sizes) {
      const at::Tensor block = whole.narrow(0, first, size).narrow(1, first, size);
      expected.narrow(0, first, size).narrow(1, first, size).copy_(block);
      first += size;
    }
    return expected;
  };
  const BlockDiagonal by_parameter(matrix, parameter_blocks(matrix.parameters()));
  const BlockDiagonal by_layer(matrix, layer_blocks(matrix.parameters()));
  EXPECT_TRUE(matrix_of(by_parameter).allclose(with_blocks({12, 4, 12}), 1e-12, 1e-13));
  EXPECT_TRUE(matrix_of(by_layer).allclose(with_blocks({16, 12}), 1e-12, 1e-13));
  EXPECT_EQ(by_layer.blocks()[0].name, "hidden");
  const Restricted head(matrix, matching_rows(matrix.parameters(), {"head.*"}));
  EXPECT_TRUE(matrix_of(head).allclose(whole.narrow(0, 16, 12).narrow(1, 16, 12), 1e-12, 1e-13));
}

}  // namespace
}  // namespace gradwise
