#include "gradwise/core/buffer_state.h"

#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include <stdexcept>

namespace gradwise {
namespace {

TEST(BufferState, TheGuardGivesTheValuesBackWhenAnExceptionPasses) {
  const at::Tensor mean = at::ones({2});
  NamedParameters buffers;
  buffers.add("mean", mean);
  try {
    const BufferStateGuard guard(buffers);
    mean.fill_(7);
    throw std::runtime_error("passing");
  } catch (const std::runtime_error&) {
  }
  EXPECT_TRUE(mean.equal(at::ones({2})));
}

TEST(BufferState, AGraphThatSavedABufferIsWhole) {
  const at::Tensor scale = at::full({2}, 3.0);
  const at::Tensor x = at::ones({2}).requires_grad_();
  NamedParameters buffers;
  buffers.add("scale", scale);
  at::Tensor y;
  {
    const BufferStateGuard guard(buffers);
    y = x.mul(scale).sum();
  }
  y.backward();
  EXPECT_TRUE(x.grad().equal(scale));
}

}  // namespace
}  // namespace gradwise
