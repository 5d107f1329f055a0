#include "gradwise/data/shuffle.h"

#include <numeric>
#include <utility>

namespace gradwise {
namespace {

__extension__ typedef unsigned __int128 Wide;

constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15;

}  // namespace

std::uint64_t random_bits(std::uint64_t key, std::uint64_t counter) {
  std::uint64_t z = key + (counter + 1) * kGolden;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

std::uint64_t stream_key(std::int64_t seed, std::int64_t epoch, Stream stream) {
  const std::uint64_t of_seed = random_bits(static_cast<std::uint64_t>(seed), static_cast<std::uint64_t>(stream));
  return random_bits(of_seed, static_cast<std::uint64_t>(epoch));
}

std::uint64_t below(std::uint64_t range, std::uint64_t bits) {
  return static_cast<std::uint64_t>((static_cast<Wide>(bits) * range) >> 64);
}

std::vector<std::int64_t> shuffled_order(std::int64_t size, std::uint64_t key) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(size));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  for (std::size_t left = order.size(); left > 1; --left) {
    std::swap(order[left - 1], order[below(left, random_bits(key, left))]);
  }
  return order;
}

}  // namespace gradwise
