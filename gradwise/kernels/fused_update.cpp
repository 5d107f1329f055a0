#include "gradwise/kernels/fused_update.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "gradwise/kernels/for_each_element.h"
#include "gradwise/kernels/narrow.h"

namespace gradwise::kernels {
namespace {

// One line of a tensor's memory, element by element.
struct Line {
  std::byte* data;
  Element element;
  Rounding rounding;
  std::uint32_t seed;

  [[nodiscard]] bool there() const { return data != nullptr; }
  [[nodiscard]] double get(std::size_t i) const { return element_at(data, i, element); }
  void set(std::size_t i, double value) const {
    const auto put = [this, i](auto stored) { std::memcpy(data + i * sizeof stored, &stored, sizeof stored); };
    const auto single = static_cast<float>(value);
    switch (element) {
      case Element::float64:
        return put(value);
      case Element::float32:
        return put(single);
      case Element::float16:
        return put(narrow_float16(single));
      case Element::bfloat16:
        return put(rounding == Rounding::stochastic
                       ? narrow_bfloat16(single, rounding_bits(seed, static_cast<std::uint32_t>(i)))
                       : narrow_bfloat16(single));
    }
  }
};

double moved(double from, double to, double share) { return from + share * (to - from); }

// NaN where either is one, as torch.maximum has it.
double larger(double a, double b) { return a < b || std::isnan(b) ? b : a; }

double sign_of(double x) { return x > 0 ? 1 : x < 0 ? -1 : x; }

// The step that is taken off a weight, without its size; brings the optimizer's lines up to date.
double direction(UpdateRule rule, double g, const UpdateCoefficients& c, double* first, double* second, double* third) {
  switch (rule) {
    case UpdateRule::adam: {
      *first = moved(*first, g, c.first_share);
      *second = c.second_keep * *second + c.second_share * g * g;
      if (third != nullptr) {
        *third = larger(*third, *second);
      }
      return *first / (c.root_scale * std::sqrt(third != nullptr ? *third : *second) + c.eps);
    }
    case UpdateRule::sgd: {
      if (first == nullptr) {
        return g;
      }
      *first = c.first_keep * *first + c.first_share * g;
      return c.look_ahead > 0 ? g + c.look_ahead * *first : *first;
    }
    case UpdateRule::rmsprop: {
      *second = c.second_keep * *second + c.second_share * g * g;
      double v = *second;
      if (third != nullptr) {
        *third = moved(*third, g, c.second_share);
        v = larger(v - *third * *third, 0);
      }
      const double d = g / (std::sqrt(v) + c.eps);
      if (first == nullptr) {
        return d;
      }
      return *first = c.first_keep * *first + d;
    }
    case UpdateRule::adagrad:
      *second += g * g;
      return g / (std::sqrt(*second) + c.eps);
    case UpdateRule::lion: {
      const double step = sign_of(moved(*first, g, c.look_ahead));
      *first = moved(*first, g, c.first_share);
      return step;
    }
  }
  return 0;
}

}  // namespace

WeightMoments fused_update_portable(UpdateRule rule, const UpdateMemory& memory, std::size_t begin, std::size_t count,
                                    const UpdateCoefficients& c, Rounding rounding, std::uint32_t seed) {
  const auto line = [&](void* data, Element element, LineKind kind) {
    return Line{static_cast<std::byte*>(data), element, rounding, line_seed(seed, kind)};
  };
  const Line weights = line(memory.weights, memory.element, LineKind::weights);
  const Line average = line(memory.average, memory.element, LineKind::average);
  const Line lines[] = {line(memory.first, memory.state, LineKind::first),
                        line(memory.second, memory.state, LineKind::second),
                        line(memory.third, memory.state, LineKind::third)};
  WeightMoments m;
  m.count = static_cast<std::int64_t>(count);
  for (std::size_t i = begin; i < begin + count; ++i) {
    double state[3] = {};
    for (std::size_t k = 0; k < 3; ++k) {
      state[k] = lines[k].there() ? lines[k].get(i) : 0;
    }
    const auto at = [&](std::size_t k) { return lines[k].there() ? &state[k] : nullptr; };
    const double before = weights.get(i);
    const double gradient = element_at(static_cast<const std::byte*>(memory.gradient), i, memory.element);
    const double g = c.grad_scale * gradient + (c.l2 != 0 ? c.l2 * before : 0);
    weights.set(i, c.keep * before - c.step_size * direction(rule, g, c, at(0), at(1), at(2)));
    const double after = weights.get(i);
    for (std::size_t k = 0; k < 3; ++k) {
      if (lines[k].there()) {
        lines[k].set(i, state[k]);
      }
    }
    if (average.there()) {
      average.set(i, moved(average.get(i), after, c.average_share));
    }
    m.sum += after;
    m.sum_squares += after * after;
    m.max_abs = std::max(m.max_abs, std::abs(after));
    m.update_squares += (after - before) * (after - before);
    m.squares_before += before * before;
  }
  return m;
}

}  // namespace gradwise::kernels
