#include "gradwise/core/random_state.h"

#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include <stdexcept>

namespace gradwise {
namespace {

// Normal numbers too: their generator keeps the second of each pair for the next call.
at::Tensor draw() {
  at::Tensor numbers = at::empty({9});
  numbers.slice(0, 0, 4).uniform_();
  numbers.slice(0, 4, 9).normal_();
  return numbers;
}

TEST(RandomState, ASeedGivesTheSameNumbers) {
  seed_everything(5);
  const at::Tensor first = draw();
  const at::Tensor second = draw();
  seed_everything(5);
  EXPECT_TRUE(draw().equal(first));
  EXPECT_TRUE(draw().equal(second));
  seed_everything(6);
  EXPECT_FALSE(draw().equal(first));
}

TEST(RandomState, TheGuardGivesTheStateBack) {
  seed_everything(5);
  (void)draw();
  const at::Tensor expected = draw();
  seed_everything(5);
  (void)draw();
  {
    const RandomStateGuard guard(at::kCPU);
    (void)draw();
    seed_everything(99);
  }
  EXPECT_TRUE(draw().equal(expected));
}

TEST(RandomState, TheGuardWorksWhenAnExceptionPasses) {
  seed_everything(5);
  const at::Tensor expected = draw();
  seed_everything(5);
  try {
    const RandomStateGuard guard(at::kCPU);
    (void)draw();
    throw std::runtime_error("passing");
  } catch (const std::runtime_error&) {
  }
  EXPECT_TRUE(draw().equal(expected));
}

TEST(RandomState, ASavedStateIsIndependentOfWhatFollows) {
  seed_everything(7);
  const State saved = random_state(at::kCPU);
  const at::Tensor first = draw();
  const at::Tensor second = draw();
  for (int i = 0; i < 2; ++i) {
    set_random_state(saved, at::kCPU);
    EXPECT_TRUE(draw().equal(first)) << "time " << i;
    EXPECT_TRUE(draw().equal(second)) << "time " << i;
  }
}

}  // namespace
}  // namespace gradwise
