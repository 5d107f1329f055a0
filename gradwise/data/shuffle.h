#pragma once

#include <cstdint>
#include <vector>

namespace gradwise {

/// Number `counter` of the random stream `key`: SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", OOPSLA 2014) read at any place, since its state is a counter. Needs no state and is the same with
/// every compiler and standard library.
[[nodiscard]] std::uint64_t random_bits(std::uint64_t key, std::uint64_t counter);

/// What a random stream is for; the values are part of what makes a run repeatable.
enum class Stream : std::uint64_t { order = 1, augmentation = 2, split = 3 };

/// The key of the stream of an epoch.
[[nodiscard]] std::uint64_t stream_key(std::int64_t seed, std::int64_t epoch, Stream stream);

/// `bits` as a number from 0 to `range` - 1, by multiplication (Lemire, "Fast random integer generation in an
/// interval", 2019, without its rejection: the bias is below range / 2^64).
[[nodiscard]] std::uint64_t below(std::uint64_t range, std::uint64_t bits);

/// A uniformly random order of 0 … size - 1 (Fisher-Yates), a function of `key` alone.
[[nodiscard]] std::vector<std::int64_t> shuffled_order(std::int64_t size, std::uint64_t key);

}  // namespace gradwise
