// Compiled once for each instruction set that Highway knows; the widest that the machine has is taken at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gradwise/kernels/fused_update_simd.cpp"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>

#include "gradwise/kernels/fused_update.h"
#include "gradwise/kernels/moments.h"
#include "gradwise/kernels/narrow_block-inl.h"
#include "gradwise/kernels/update_rules-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gradwise::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Sums of one block.
template <class D>
struct Sums {
  using V = hn::Vec<D>;
  V sum = hn::Zero(D());
  V squares = hn::Zero(D());
  V most = hn::Zero(D());
  V update = hn::Zero(D());
  V squares_before = hn::Zero(D());

  // Written out: an implicit one would not be compiled for the target.
  HWY_INLINE Sums() {}
  HWY_INLINE void add(V before, V after) {
    const V moved = hn::Sub(after, before);
    sum = hn::Add(sum, after);
    squares = hn::MulAdd(after, after, squares);
    most = hn::Max(most, hn::Abs(after));
    update = hn::MulAdd(moved, moved, update);
    squares_before = hn::MulAdd(before, before, squares_before);
  }
  HWY_INLINE void add_to(WeightMoments& m) const {
    const auto total = [](V x) HWY_ATTR { return static_cast<double>(hn::GetLane(hn::SumOfLanes(D(), x))); };
    m.sum += total(sum);
    m.sum_squares += total(squares);
    m.max_abs = std::max(m.max_abs, static_cast<double>(hn::GetLane(hn::MaxOfLanes(D(), most))));
    m.update_squares += total(update);
    m.squares_before += total(squares_before);
  }
};

// Fetches what is updated next, line by line as the present piece is walked: all at once would hold up its own loads.
class Ahead {
 public:
  HWY_INLINE Ahead() {}
  explicit HWY_INLINE Ahead(const NextUpdate& next) : count_(next.memory == nullptr ? 0 : next.count) {
    if (count_ > 0) {
      memory_ = *next.memory;
      in_a_line_ = 64 / size_of(memory_.element == Element::float64 ? Element::float64 : Element::float32);
    }
  }
  // To be called with the first of each vector's elements.
  HWY_INLINE void fetch(std::size_t i) const {
    if (i < count_ && i % in_a_line_ == 0) {
      fetch(memory_.weights, i, memory_.element);
      fetch(memory_.gradient, i, memory_.element);
      fetch(memory_.first, i, memory_.state);
      fetch(memory_.second, i, memory_.state);
      fetch(memory_.third, i, memory_.state);
      fetch(memory_.average, i, memory_.element);
    }
  }

 private:
  static HWY_INLINE void fetch(const void* line, std::size_t i, Element element) {
    if (line != nullptr) {
      hwy::Prefetch(static_cast<const std::byte*>(line) + i * size_of(element));
    }
  }

  UpdateMemory memory_;
  std::size_t count_ = 0;
  std::size_t in_a_line_ = 16;  // elements of the widest type; of narrower ones lines are asked for twice
};

// Updates `count` elements, a multiple of the lanes. `stored` rounds the new weights to what is stored.
template <class Rule, class T, class State, class Stored>
HWY_INLINE void update_vectors(const Lines<T, State>& at, std::size_t count, const Coefficients<hn::ScalableTag<T>>& c,
                               const Stored& stored, const Ahead& ahead, Sums<hn::ScalableTag<T>>& sums) {
  const hn::ScalableTag<T> d;
  const Rule rule{};
  for (std::size_t i = 0; i < count; i += hn::Lanes(d)) {
    ahead.fetch(i);
    const auto before = hn::LoadU(d, at.weights + i);
    auto g = hn::Mul(c.grad_scale, hn::LoadU(d, at.gradient + i));
    if (c.penalised) {  // zero times an infinite weight would be NaN
      g = hn::MulAdd(c.l2, before, g);
    }
    const auto step = rule(d, g, c, at, i);
    const auto after = stored(hn::NegMulAdd(c.step_size, step, hn::Mul(before, c.keep)), i);
    hn::StoreU(after, d, at.weights + i);
    if (at.average != nullptr) {
      const auto average = hn::LoadU(d, at.average + i);
      hn::StoreU(c.average.between(average, after), d, at.average + i);
    }
    sums.add(before, after);
  }
}

struct AsItIs {
  template <class V>
  HWY_INLINE V operator()(V x, std::size_t) const {
    return x;
  }
};

// Float32 and float64 in place; what fills no vector goes through a copy, filled up with numbers that change no sum.
template <class Rule, class T>
void update_in_place(const Lines<T>& at, std::size_t count, const UpdateCoefficients& given, const Ahead& ahead,
                     WeightMoments& m) {
  const hn::ScalableTag<T> d;
  const Coefficients<hn::ScalableTag<T>> c(given, {});
  const std::size_t rest = count % hn::Lanes(d);
  Sums<hn::ScalableTag<T>> sums;
  update_vectors<Rule>(at, count - rest, c, AsItIs(), ahead, sums);
  if (rest > 0) {
    constexpr std::size_t kMostLanes = hn::MaxLanes(d);
    T copies[6][kMostLanes];
    const Lines<T> tail = at.from(count - rest);
    const Lines<T> padded = copied(tail, rest, copies);
    update_vectors<Rule>(padded, hn::Lanes(d), c, AsItIs(), Ahead(), sums);
    copy_back(padded, rest, tail);
  }
  sums.add_to(m);
}

// Weights or lines of 16 bits: widened into a block that stays in the cache, and narrowed back.
template <class Rule>
void update_widened(const UpdateMemory& memory, std::size_t begin, std::size_t count, const UpdateCoefficients& given,
                    const Narrowing& narrowing, const Ahead& ahead, WeightMoments& m) {
  HWY_ALIGN float blocks[6][kBlock];
  const Lines<float> lines = widened(memory, begin, count, blocks);
  const RoundedWeights stored{memory.element, narrowing.rounding, line_seed(narrowing.seed, LineKind::weights),
                              static_cast<std::uint32_t>(begin)};
  const std::size_t lanes = hn::Lanes(Singles());
  Sums<Singles> sums;
  update_vectors<Rule>(lines, (count + lanes - 1) / lanes * lanes, Coefficients<Singles>(given, narrowing), stored,
                       ahead, sums);
  narrowed(lines, begin, count, narrowing.rounding, narrowing.seed, memory);
  sums.add_to(m);
}

// Float32 weights with bfloat16 lines; what fills no vector is widened.
template <class Rule>
void update_narrow_state(const UpdateMemory& memory, std::size_t begin, std::size_t count,
                         const UpdateCoefficients& given, const Narrowing& narrowing, const Ahead& ahead,
                         WeightMoments& m) {
  const std::size_t rest = count % hn::Lanes(Singles());
  Sums<Singles> sums;
  update_vectors<Rule>(lines_of<float, hwy::bfloat16_t>(memory).from(begin), count - rest,
                       Coefficients<Singles>(given, narrowing), AsItIs(), ahead, sums);
  sums.add_to(m);
  if (rest > 0) {
    const auto from = static_cast<std::uint32_t>(begin + count - rest);
    update_widened<Rule>(memory, from, rest, given, {narrowing.rounding, narrowing.seed, from}, Ahead(), m);
  }
}

template <class Rule>
WeightMoments update_by(const UpdateMemory& memory, std::size_t begin, std::size_t count, const UpdateCoefficients& c,
                        Rounding rounding, std::uint32_t seed, const NextUpdate& next) {
  WeightMoments m;
  m.count = static_cast<std::int64_t>(count);
  for (std::size_t done = 0; done < count; done += kBlock) {
    const std::size_t length = std::min(kBlock, count - done);
    const std::size_t from = begin + done;
    const Narrowing narrowing{rounding, seed, static_cast<std::uint32_t>(from)};
    const Ahead ahead = done + length == count ? Ahead(next) : Ahead();
    if (memory.element == Element::float64) {
      update_in_place<Rule>(lines_of<double>(memory).from(from), length, c, ahead, m);
    } else if (memory.element == Element::float32 && memory.state == Element::float32) {
      update_in_place<Rule>(lines_of<float>(memory).from(from), length, c, ahead, m);
    } else if (memory.element == Element::float32 && memory.state == Element::bfloat16) {
      update_narrow_state<Rule>(memory, from, length, c, narrowing, ahead, m);
    } else {
      update_widened<Rule>(memory, from, length, c, narrowing, ahead, m);
    }
  }
  return m;
}

WeightMoments update(UpdateRule rule, const UpdateMemory& memory, std::size_t begin, std::size_t count,
                     const UpdateCoefficients& c, Rounding rounding, std::uint32_t seed, const NextUpdate& next) {
  switch (rule) {
    case UpdateRule::adam:
      return update_by<Adam>(memory, begin, count, c, rounding, seed, next);
    case UpdateRule::sgd:
      return update_by<Sgd>(memory, begin, count, c, rounding, seed, next);
    case UpdateRule::rmsprop:
      return update_by<RMSprop>(memory, begin, count, c, rounding, seed, next);
    case UpdateRule::adagrad:
      return update_by<Adagrad>(memory, begin, count, c, rounding, seed, next);
    case UpdateRule::lion:
      return update_by<Lion>(memory, begin, count, c, rounding, seed, next);
  }
  return {};
}

}  // namespace gradwise::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gradwise::kernels {

HWY_EXPORT(update);

WeightMoments fused_update(UpdateRule rule, const UpdateMemory& memory, std::size_t begin, std::size_t count,
                           const UpdateCoefficients& coefficients, Rounding rounding, std::uint32_t seed,
                           NextUpdate next) {
  return HWY_DYNAMIC_DISPATCH(update)(rule, memory, begin, count, coefficients, rounding, seed, next);
}

}  // namespace gradwise::kernels
#endif
