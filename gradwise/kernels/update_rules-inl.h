// The optimizers' rules over vectors, for the kernels. Parsed once for each instruction set (Highway's convention for
// such headers), hence no #pragma once. The formulas stand at UpdateCoefficients.
#if defined(GRADWISE_UPDATE_RULES_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef GRADWISE_UPDATE_RULES_INL_H
#undef GRADWISE_UPDATE_RULES_INL_H
#else
#define GRADWISE_UPDATE_RULES_INL_H
#endif

#include <hwy/highway.h>

#include "gradwise/kernels/fused_update.h"
#include "gradwise/kernels/round_vectors-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gradwise::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// The lines of UpdateMemory: of the type that is computed in, the optimizer's perhaps of 16 bits.
template <class T, class State = T>
struct Lines {
  T* weights;
  const T* gradient;
  State* first;
  State* second;
  State* third;
  T* average;

  // The same lines from element `i` on.
  HWY_INLINE Lines from(std::size_t i) const {
    const auto moved = [i](auto* line) { return line == nullptr ? nullptr : line + i; };
    return {weights + i, gradient + i, moved(first), moved(second), moved(third), moved(average)};
  }
};

template <class T, class State = T>
HWY_INLINE Lines<T, State> lines_of(const UpdateMemory& memory) {
  const auto line = [](void* data) { return static_cast<State*>(data); };
  return {static_cast<T*>(memory.weights),
          static_cast<const T*>(memory.gradient),
          line(memory.first),
          line(memory.second),
          line(memory.third),
          static_cast<T*>(memory.average)};
}

// How lines of 16 bits are rounded; `begin`: place of the lines' first element in the tensor.
struct Narrowing {
  Rounding rounding = Rounding::nearest;
  std::uint32_t seed = 0;
  std::uint32_t begin = 0;
};

template <class D>
HWY_INLINE hn::Vec<D> load(D d, const hn::TFromD<D>* from) {
  return hn::LoadU(d, from);
}
HWY_INLINE hn::Vec<Singles> load(Singles d, const hwy::bfloat16_t* from) {
  return hn::PromoteTo(d, hn::LoadU(hn::Rebind<hwy::bfloat16_t, Singles>(), from));
}

// The larger of the two, NaN where either is one: what hn::Max makes of NaN depends on the target.
template <class V>
HWY_INLINE V larger(V a, V b) {
  return hn::IfThenElse(hn::Or(hn::Lt(a, b), hn::IsNaN(b)), b, a);
}

template <class D>
HWY_INLINE void store(D d, hn::Vec<D> x, const Narrowing&, LineKind, std::size_t i, hn::TFromD<D>* line) {
  hn::StoreU(x, d, line + i);
}
HWY_INLINE void store(Singles, hn::Vec<Singles> x, const Narrowing& n, LineKind kind, std::size_t i,
                      hwy::bfloat16_t* line) {
  store_bfloat16(as_bfloat16(x, n.rounding, line_seed(n.seed, kind), n.begin + static_cast<std::uint32_t>(i)),
                 line + i);
}

// A share on the way from one vector to another, from the nearer end, as torch.lerp.
template <class D>
struct Share {
  using V = hn::Vec<D>;
  V share;
  bool from_start;

  explicit HWY_INLINE Share(double given)
      : share(hn::Set(D(), static_cast<hn::TFromD<D>>(given < 0.5 ? given : given - 1))), from_start(given < 0.5) {}
  HWY_INLINE V between(V start, V end) const {
    return hn::MulAdd(share, hn::Sub(end, start), from_start ? start : end);
  }
};

template <class D>
struct Coefficients {
  using V = hn::Vec<D>;
  V grad_scale, l2, keep, step_size, first_keep, first_share, second_keep, second_share, root_scale, look_ahead, eps;
  Share<D> first, third, direction, average;
  bool looks_ahead;
  bool penalised;
  Narrowing narrowing;

  HWY_INLINE Coefficients(const UpdateCoefficients& c, const Narrowing& n)
      : grad_scale(set(c.grad_scale)),
        l2(set(c.l2)),
        keep(set(c.keep)),
        step_size(set(c.step_size)),
        first_keep(set(c.first_keep)),
        first_share(set(c.first_share)),
        second_keep(set(c.second_keep)),
        second_share(set(c.second_share)),
        root_scale(set(c.root_scale)),
        look_ahead(set(c.look_ahead)),
        eps(set(c.eps)),
        first(c.first_share),
        third(c.second_share),
        direction(c.look_ahead),
        average(c.average_share),
        looks_ahead(c.look_ahead > 0),
        penalised(c.l2 != 0),
        narrowing(n) {}
  static HWY_INLINE V set(double x) { return hn::Set(D(), static_cast<hn::TFromD<D>>(x)); }
};

// Each rule brings the optimizer's lines up to date at element `i` and gives the step, without its size.
struct Adam {
  template <class D, class State, class V = hn::Vec<D>>
  HWY_INLINE V operator()(D d, V g, const Coefficients<D>& c, const Lines<hn::TFromD<D>, State>& at,
                          std::size_t i) const {
    const V first = c.first.between(load(d, at.first + i), g);
    store(d, first, c.narrowing, LineKind::first, i, at.first);
    V second = hn::MulAdd(hn::Mul(c.second_share, g), g, hn::Mul(c.second_keep, load(d, at.second + i)));
    store(d, second, c.narrowing, LineKind::second, i, at.second);
    if (at.third != nullptr) {
      second = larger(load(d, at.third + i), second);
      store(d, second, c.narrowing, LineKind::third, i, at.third);
    }
    return hn::Div(first, hn::MulAdd(c.root_scale, hn::Sqrt(second), c.eps));
  }
};

struct Sgd {
  template <class D, class State, class V = hn::Vec<D>>
  HWY_INLINE V operator()(D d, V g, const Coefficients<D>& c, const Lines<hn::TFromD<D>, State>& at,
                          std::size_t i) const {
    if (at.first == nullptr) {
      return g;
    }
    const V first = hn::MulAdd(c.first_share, g, hn::Mul(c.first_keep, load(d, at.first + i)));
    store(d, first, c.narrowing, LineKind::first, i, at.first);
    return c.looks_ahead ? hn::MulAdd(c.look_ahead, first, g) : first;
  }
};

struct RMSprop {
  template <class D, class State, class V = hn::Vec<D>>
  HWY_INLINE V operator()(D d, V g, const Coefficients<D>& c, const Lines<hn::TFromD<D>, State>& at,
                          std::size_t i) const {
    V second = hn::MulAdd(hn::Mul(c.second_share, g), g, hn::Mul(c.second_keep, load(d, at.second + i)));
    store(d, second, c.narrowing, LineKind::second, i, at.second);
    if (at.third != nullptr) {
      const V mean = c.third.between(load(d, at.third + i), g);
      store(d, mean, c.narrowing, LineKind::third, i, at.third);
      // Rounded lines may leave less than the mean's square.
      second = larger(hn::NegMulAdd(mean, mean, second), hn::Zero(d));
    }
    const V step = hn::Div(g, hn::Add(hn::Sqrt(second), c.eps));
    if (at.first == nullptr) {
      return step;
    }
    const V first = hn::MulAdd(c.first_keep, load(d, at.first + i), step);
    store(d, first, c.narrowing, LineKind::first, i, at.first);
    return first;
  }
};

struct Adagrad {
  template <class D, class State, class V = hn::Vec<D>>
  HWY_INLINE V operator()(D d, V g, const Coefficients<D>& c, const Lines<hn::TFromD<D>, State>& at,
                          std::size_t i) const {
    const V second = hn::MulAdd(g, g, load(d, at.second + i));
    store(d, second, c.narrowing, LineKind::second, i, at.second);
    return hn::Div(g, hn::Add(hn::Sqrt(second), c.eps));
  }
};

struct Lion {
  template <class D, class State, class V = hn::Vec<D>>
  HWY_INLINE V operator()(D d, V g, const Coefficients<D>& c, const Lines<hn::TFromD<D>, State>& at,
                          std::size_t i) const {
    const V first = load(d, at.first + i);
    const V looking = c.direction.between(first, g);
    store(d, c.first.between(first, g), c.narrowing, LineKind::first, i, at.first);
    // Zero and NaN are their own sign.
    const V one = hn::CopySign(hn::Set(d, 1), looking);
    return hn::IfThenElse(hn::Gt(hn::Abs(looking), hn::Zero(d)), one, looking);
  }
};

}  // namespace gradwise::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
