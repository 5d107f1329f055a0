// Blocks of an update's memory to float32 and back, for the kernels. Parsed once for each instruction set (Highway's
// convention for such headers), hence no #pragma once.
#if defined(GRADWISE_NARROW_BLOCK_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef GRADWISE_NARROW_BLOCK_INL_H
#undef GRADWISE_NARROW_BLOCK_INL_H
#else
#define GRADWISE_NARROW_BLOCK_INL_H
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstring>

#include "gradwise/kernels/for_each_element.h"
#include "gradwise/kernels/fused_update.h"
#include "gradwise/kernels/narrow.h"
#include "gradwise/kernels/read_elements-inl.h"
#include "gradwise/kernels/round_vectors-inl.h"
#include "gradwise/kernels/update_rules-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gradwise::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Rounds new weights to their own type, so that what is measured is what is stored.
struct RoundedWeights {
  Element element;
  Rounding rounding;
  std::uint32_t seed;
  std::uint32_t begin;

  HWY_INLINE hn::Vec<Singles> operator()(hn::Vec<Singles> x, std::size_t i) const {
    if (element == Element::bfloat16) {
      return as_bfloat16(x, rounding, seed, begin + static_cast<std::uint32_t>(i));
    }
    return element == Element::float16 ? as_float16(x) : x;
  }
};

// `count` elements as float32, the rest of `to` up to a whole vector with `filling`.
inline HWY_NOINLINE void widen_line(const void* data, Element element, std::size_t begin, std::size_t count,
                                    float filling, float* to) {
  const Singles d;
  const std::size_t lanes = hn::Lanes(d);
  const auto* bytes = static_cast<const std::byte*>(data);
  std::size_t i = 0;
  if (element == Element::bfloat16) {
    const auto* from = reinterpret_cast<const hwy::bfloat16_t*>(bytes) + begin;
    for (; i + lanes <= count; i += lanes) {
      hn::StoreU(ReadBFloat16::load(from + i), d, to + i);
    }
#if !GRADWISE_FLOAT16_IN_SOFTWARE
  } else if (element == Element::float16) {
    const auto* from = reinterpret_cast<const hwy::float16_t*>(bytes) + begin;
    for (; i + lanes <= count; i += lanes) {
      hn::StoreU(ReadFloat16::load(from + i), d, to + i);
    }
#endif
  }
  for (; i < count; ++i) {
    to[i] = static_cast<float>(element_at(bytes, begin + i, element));
  }
  std::fill(to + count, to + (count + lanes - 1) / lanes * lanes, filling);
}

// One bfloat16 or float16 as it is stored.
inline std::uint16_t narrow_element(float x, Element element, Rounding rounding, std::uint32_t random) {
  if (element == Element::float16) {
    return narrow_float16(x);
  }
  return rounding == Rounding::stochastic ? narrow_bfloat16(x, random) : narrow_bfloat16(x);
}

// Back to memory, rounded. Numbers that have been rounded to that type already stay as they are.
inline HWY_NOINLINE void narrow_line(const float* from, Element element, std::size_t begin, std::size_t count,
                                     Rounding rounding, std::uint32_t seed, void* data) {
  const Singles d;
  const std::size_t lanes = hn::Lanes(d);
  auto* bytes = static_cast<std::byte*>(data);
  if (element == Element::float32) {
    std::memcpy(bytes + begin * 4, from, count * 4);
    return;
  }
  std::size_t i = 0;
  if (element == Element::bfloat16) {
    auto* to = reinterpret_cast<hwy::bfloat16_t*>(bytes) + begin;
    for (; i + lanes <= count; i += lanes) {
      const auto index = static_cast<std::uint32_t>(begin + i);
      store_bfloat16(as_bfloat16(hn::LoadU(d, from + i), rounding, seed, index), to + i);
    }
#if !GRADWISE_FLOAT16_IN_SOFTWARE
  } else {
    const hn::Rebind<hwy::float16_t, Singles> half;
    auto* to = reinterpret_cast<hwy::float16_t*>(bytes) + begin;
    for (; i + lanes <= count; i += lanes) {
      hn::StoreU(hn::DemoteTo(half, hn::LoadU(d, from + i)), half, to + i);
    }
#endif
  }
  for (; i < count; ++i) {
    const std::uint16_t stored =
        narrow_element(from[i], element, rounding, rounding_bits(seed, static_cast<std::uint32_t>(begin + i)));
    std::memcpy(bytes + (begin + i) * 2, &stored, 2);
  }
}

// A block's lines as float32: where they lie if they are that already and fill whole vectors, else widened into
// `blocks`. A filling of 1 in `second` keeps the padding from dividing by zero.
inline Lines<float> widened(const UpdateMemory& memory, std::size_t begin, std::size_t count,
                            float (&blocks)[6][kBlock]) {
  const bool whole = count % hn::Lanes(Singles()) == 0;
  const auto line = [&](const void* data, Element element, int place, float filling) -> float* {
    if (data == nullptr) {
      return nullptr;
    }
    if (whole && element == Element::float32) {
      return const_cast<float*>(static_cast<const float*>(data)) + begin;
    }
    widen_line(data, element, begin, count, filling, blocks[place]);
    return blocks[place];
  };
  return {line(memory.weights, memory.element, 0, 0), line(memory.gradient, memory.element, 1, 0),
          line(memory.first, memory.state, 2, 0),     line(memory.second, memory.state, 3, 1),
          line(memory.third, memory.state, 4, 0),     line(memory.average, memory.element, 5, 0)};
}

inline void narrowed(const Lines<float>& lines, std::size_t begin, std::size_t count, Rounding rounding,
                     std::uint32_t seed, const UpdateMemory& memory) {
  const auto line = [&](const float* from, Element element, LineKind kind, void* data) {
    if (data != nullptr && from != static_cast<const float*>(data) + begin) {
      // Weights have been rounded in the loop; a second time at random would move them again.
      const Rounding how = kind == LineKind::weights ? Rounding::nearest : rounding;
      narrow_line(from, element, begin, count, how, line_seed(seed, kind), data);
    }
  };
  line(lines.weights, memory.element, LineKind::weights, memory.weights);
  line(lines.first, memory.state, LineKind::first, memory.first);
  line(lines.second, memory.state, LineKind::second, memory.second);
  line(lines.third, memory.state, LineKind::third, memory.third);
  line(lines.average, memory.element, LineKind::average, memory.average);
}

// Up to a vector's elements, padded likewise.
template <class T, std::size_t kLanes>
HWY_INLINE Lines<T> copied(const Lines<T>& lines, std::size_t count, T (&copies)[6][kLanes]) {
  const auto line = [&](const T* from, int place, T filling) -> T* {
    if (from == nullptr) {
      return nullptr;
    }
    std::fill_n(copies[place], kLanes, filling);
    std::copy_n(from, count, copies[place]);
    return copies[place];
  };
  return {line(lines.weights, 0, 0), line(lines.gradient, 1, 0), line(lines.first, 2, 0),
          line(lines.second, 3, 1),  line(lines.third, 4, 0),    line(lines.average, 5, 0)};
}

template <class T>
HWY_INLINE void copy_back(const Lines<T>& lines, std::size_t count, const Lines<T>& to) {
  const auto line = [count](const T* from, T* target) {
    if (target != nullptr) {
      std::copy_n(from, count, target);
    }
  };
  line(lines.weights, to.weights);
  line(lines.first, to.first);
  line(lines.second, to.second);
  line(lines.third, to.third);
  line(lines.average, to.average);
}

}  // namespace gradwise::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
