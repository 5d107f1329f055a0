// Which parameters share memory, against the list of their elements' addresses.
#include "gradwise/optim/parameter_memory.h"

#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/data/error_of.h"

namespace gradwise {
namespace {

at::Tensor zeroed(std::int64_t rows, std::int64_t columns) { return at::zeros({rows, columns}); }

TEST(SharedMemory, IsRefusedOfViewsWithGaps) {
  const at::Tensor wide = zeroed(4, 20);
  const at::Tensor line = zeroed(1, 40).view({40});
  EXPECT_ERROR_WITH("parameters 0 and 1 share memory, allowed: parameters with memory of their own",
                    refuse_shared_memory({wide.slice(1, 3, 10), wide.slice(1, 5, 12)}));
  EXPECT_ERROR_WITH("parameters 0 and 1 share memory",
                    refuse_shared_memory({line.as_strided({10}, {2}), line.slice(0, 0, 20)}));
  EXPECT_ERROR_WITH("parameters 1 and 2 share memory",
                    refuse_shared_memory({at::zeros({3}), wide, wide.slice(0, 2, 3).slice(1, 19, 20)}));
  EXPECT_ERROR_WITH("parameters 0 and 1 share memory",
                    refuse_shared_memory({line.slice(0, 0, 4).view(at::kHalf).slice(0, 4, 5), line.slice(0, 2, 4)}));
}

TEST(SharedMemory, IsNotFoundWhereViewsInterleave) {
  const at::Tensor wide = zeroed(4, 20);
  const at::Tensor line = zeroed(1, 40).view({40});
  EXPECT_NO_THROW(refuse_shared_memory({wide.slice(1, 0, 3), wide.slice(1, 3, 6), wide.slice(1, 6, 20)}));
  EXPECT_NO_THROW(refuse_shared_memory({line.slice(0, 0, 40, 2), line.slice(0, 1, 40, 2)}));
  EXPECT_NO_THROW(refuse_shared_memory({wide.slice(0, 0, 4, 2), wide.slice(0, 1, 4, 2).t()}));
  EXPECT_NO_THROW(refuse_shared_memory({wide.slice(1, 0, 3), at::zeros({0})}));
}

TEST(SharedMemory, IsRefusedWithinOneParameter) {
  const at::Tensor line = zeroed(1, 40).view({40});
  EXPECT_ERROR_WITH("parameter 1 of shape [4, 3] and strides [1, 1] has elements that share memory",
                    refuse_shared_memory({at::zeros({2}), line.as_strided({4, 3}, {1, 1})}));
  EXPECT_NO_THROW(refuse_shared_memory({line.as_strided({2, 3}, {3, 2})}));  // 0 2 4 3 5 7
}

std::vector<std::int64_t> places_of_elements(const at::Tensor& view) {
  std::vector<std::int64_t> places{view.storage_offset()};
  for (std::int64_t d = 0; d < view.dim(); ++d) {
    std::vector<std::int64_t> more;
    for (const std::int64_t place : places) {
      for (std::int64_t i = 0; i < view.size(d); ++i) {
        more.push_back(place + i * view.stride(d));
      }
    }
    places = std::move(more);
  }
  return places;
}

TEST(SharedMemory, IsFoundExactlyWhereAnElementIsNamedTwice) {
  const at::Tensor line = zeroed(1, 200).view({200});
  std::mt19937 engine(1);
  const auto up_to = [&engine](std::int64_t most) {
    return std::uniform_int_distribution<std::int64_t>(1, most)(engine);
  };
  const auto view = [&] {
    return line.as_strided({up_to(4), up_to(4), up_to(3)}, {up_to(14), up_to(14), up_to(14)}, up_to(30));
  };
  int shared = 0;
  constexpr int kTrials = 3000;
  for (int trial = 0; trial < kTrials; ++trial) {
    const at::Tensor a = view();
    const at::Tensor b = view();
    std::multiset<std::int64_t> named;
    for (const at::Tensor& tensor : {a, b}) {
      for (const std::int64_t place : places_of_elements(tensor)) {
        named.insert(place);
      }
    }
    const bool twice = std::set<std::int64_t>(named.begin(), named.end()).size() < named.size();
    shared += twice ? 1 : 0;
    ASSERT_EQ(error_of([&] { refuse_shared_memory({a, b}); }) != "no error", twice)
        << a.sizes() << a.strides() << a.storage_offset() << ", " << b.sizes() << b.strides() << b.storage_offset();
  }
  EXPECT_GT(shared, kTrials / 10);
  EXPECT_LT(shared, kTrials * 9 / 10);
}

}  // namespace
}  // namespace gradwise
