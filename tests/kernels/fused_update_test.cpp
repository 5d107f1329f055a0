// The one-pass update on every instruction set: against the portable form, cut anywhere, and rounded at random.
#include "gradwise/kernels/fused_update.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <cmath>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "gradwise/kernels/for_each_element.h"
#include "gradwise/kernels/moments.h"
#include "gradwise/kernels/narrow.h"
#include "tests/kernels/numbers.h"

namespace gradwise::kernels {
namespace {

// What an optimizer may look like: which lines it has, and its coefficients.
struct Kind {
  std::string name;
  UpdateRule rule;
  bool first, second, third;
  UpdateCoefficients coefficients;
};

UpdateCoefficients base() {
  UpdateCoefficients c;
  c.grad_scale = 0.7;
  c.step_size = 0.01;
  c.eps = 1e-6;
  c.average_share = 0.1;
  return c;
}

std::vector<Kind> kinds() {
  UpdateCoefficients adam = base();
  adam.first_share = 0.1;
  adam.second_keep = 0.99;
  adam.second_share = 0.01;
  adam.root_scale = 2;
  adam.keep = 0.999;
  UpdateCoefficients early = adam;  // shares of more than a half, and an L2 penalty in place of the decay
  early.first_share = early.average_share = 0.9;
  early.keep = 1;
  early.l2 = 0.1;
  UpdateCoefficients sgd = base();
  sgd.first_keep = 0.9;
  sgd.first_share = 0.8;
  UpdateCoefficients nesterov = sgd;
  nesterov.look_ahead = 0.9;
  UpdateCoefficients rmsprop = base();
  rmsprop.second_keep = 0.9;
  rmsprop.second_share = 0.1;
  rmsprop.first_keep = 0.5;
  UpdateCoefficients lion = base();
  lion.look_ahead = 0.1;
  lion.first_share = 0.01;
  return {{"adam", UpdateRule::adam, true, true, false, adam},
          {"adam_early", UpdateRule::adam, true, true, false, early},
          {"amsgrad", UpdateRule::adam, true, true, true, adam},
          {"sgd", UpdateRule::sgd, false, false, false, base()},
          {"momentum", UpdateRule::sgd, true, false, false, sgd},
          {"nesterov", UpdateRule::sgd, true, false, false, nesterov},
          {"rmsprop", UpdateRule::rmsprop, false, true, false, rmsprop},
          {"rmsprop_all", UpdateRule::rmsprop, true, true, true, rmsprop},
          {"adagrad", UpdateRule::adagrad, false, true, false, base()},
          {"lion", UpdateRule::lion, true, false, false, lion}};
}

// A tensor's lines in memory of their own.
struct Buffers {
  std::vector<std::byte> weights, gradient, first, second, third, average;
  Element element, state;

  Buffers(std::size_t count, Element e, Element s, const Kind& kind, double scale) : element(e), state(s) {
    const auto line = [count](Element type, double size, unsigned int seed, bool positive) {
      std::vector<double> values = numbers(count, {"", size, 0.05, 0}, seed);
      for (double& value : values) {
        value = positive ? value * value + 1e-3 : value;
      }
      return stored_as(values, type);
    };
    weights = line(e, 1, 1, false);
    gradient = line(e, scale, 2, false);
    first = kind.first ? line(s, 0.3, 3, false) : std::vector<std::byte>();
    second = kind.second ? line(s, 1, 4, true) : std::vector<std::byte>();
    // Small: the mean that is squared and taken off the second line must leave something.
    third = kind.third ? line(s, 0.01, 5, false) : std::vector<std::byte>();
    average = line(e, 1, 6, false);
  }
  UpdateMemory memory(bool averaged = true) {
    const auto line = [](std::vector<std::byte>& bytes) { return bytes.empty() ? nullptr : bytes.data(); };
    return {weights.data(), gradient.data(),
            line(first),    line(second),
            line(third),    averaged ? average.data() : nullptr,
            element,        state};
  }
  [[nodiscard]] bool operator==(const Buffers&) const = default;
};

double tolerance(Element type) {
  switch (type) {
    case Element::float64:
      return 1e-13;
    case Element::float32:
      return 2e-6;
    case Element::float16:
      return 0x1p-10;  // a result between two numbers may go to either
    case Element::bfloat16:
      return 0x1p-7;
  }
  return 0;
}

void expect_near(const std::vector<std::byte>& fast, const std::vector<std::byte>& reference, Element type,
                 const char* line) {
  ASSERT_EQ(fast.size(), reference.size());
  for (std::size_t i = 0; i < fast.size() / size_of(type); ++i) {
    const double expected = element_at(reference.data(), i, type);
    const double allowed = tolerance(type) * std::max(std::abs(expected), type == Element::float64 ? 1.0 : 0.1);
    ASSERT_NEAR(element_at(fast.data(), i, type), expected, allowed) << line << ", element " << i;
  }
}

void expect_same(const WeightMoments& fast, const WeightMoments& reference, Element type) {
  const double part = type == Element::float64 ? 1e-12 : 1e-5;
  EXPECT_EQ(fast.count, reference.count);
  // Narrow weights may differ by an element that was rounded the other way.
  const double slack = type == Element::float32 || type == Element::float64 ? 1 : 100;
  EXPECT_NEAR(fast.max_abs, reference.max_abs, slack * part * (reference.max_abs + 1e-9));
  EXPECT_NEAR(fast.sum, reference.sum,
              slack * part * std::sqrt(reference.sum_squares * static_cast<double>(reference.count)));
  EXPECT_NEAR(fast.sum_squares, reference.sum_squares, slack * part * reference.sum_squares);
  EXPECT_NEAR(fast.squares_before, reference.squares_before, part * reference.squares_before);
  EXPECT_NEAR(fast.update_squares, reference.update_squares, slack * 0.01 * reference.update_squares);
}

class EveryTarget : public testing::TestWithParam<std::tuple<Element, Element>> {};

TEST_P(EveryTarget, MatchesThePortableUpdate) {
  const auto [element, state] = GetParam();
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::GetChosenTarget().Update(target);
    for (const Kind& kind : kinds()) {
      for (const std::size_t count : {0, 1, 15, 16, 33, 1024, 1027, 2600}) {
        for (const bool averaged : {false, true}) {
          SCOPED_TRACE(std::string(hwy::TargetName(target)) + ", " + kind.name + ", " + std::to_string(count));
          Buffers fast(count, element, state, kind, 0.5);
          Buffers reference = fast;
          Buffers after(count / 2, element, state, kind, 0.3);
          const Buffers untouched = after;
          const UpdateMemory next = after.memory();
          const WeightMoments m = fused_update(kind.rule, fast.memory(averaged), 0, count, kind.coefficients,
                                               Rounding::nearest, 0, {&next, count / 2});
          EXPECT_TRUE(after == untouched);
          const WeightMoments n =
              fused_update_portable(kind.rule, reference.memory(averaged), 0, count, kind.coefficients);
          expect_near(fast.weights, reference.weights, element, "weights");
          expect_near(fast.first, reference.first, state, "first");
          expect_near(fast.second, reference.second, state, "second");
          expect_near(fast.third, reference.third, state, "third");
          expect_near(fast.average, reference.average, element, "average");
          EXPECT_EQ(fast.gradient, reference.gradient);
          expect_same(m, n, element);
          if (testing::Test::HasFailure()) {
            return;
          }
        }
      }
    }
  }
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

INSTANTIATE_TEST_SUITE_P(
    FusedUpdate, EveryTarget,
    testing::Values(std::tuple(Element::float32, Element::float32), std::tuple(Element::float32, Element::bfloat16),
                    std::tuple(Element::float64, Element::float64), std::tuple(Element::float16, Element::float32),
                    std::tuple(Element::bfloat16, Element::float32), std::tuple(Element::bfloat16, Element::bfloat16)));

TEST(FusedUpdate, DoesNotDependOnHowATensorIsCut) {
  std::mt19937 engine(1);
  for (const Element state : {Element::float32, Element::bfloat16}) {
    for (const Kind& kind : kinds()) {
      const std::size_t count = 20000;
      Buffers whole(count, Element::float32, state, kind, 0.5);
      Buffers cut = whole;
      const auto update = [&](Buffers& buffers, std::size_t begin, std::size_t length) {
        return fused_update(kind.rule, buffers.memory(), begin, length, kind.coefficients, Rounding::stochastic, 7);
      };
      (void)update(whole, 0, count);
      for (std::size_t begin = 0; begin < count;) {
        const std::size_t length = std::min(count - begin, (1 + engine() % 5) * kBlock);
        (void)update(cut, begin, length);
        begin += length;
      }
      EXPECT_TRUE(whole == cut) << kind.name;
    }
  }
}

TEST(FusedUpdate, ReadsLinesThatAreNotAligned) {
  const Kind kind = kinds().front();
  const std::size_t count = 500;
  Buffers straight(count, Element::float32, Element::float32, kind, 0.5);
  Buffers crooked = straight;
  std::vector<std::vector<std::byte>> shifted;
  const auto shift = [&shifted](std::vector<std::byte>& bytes) {
    shifted.emplace_back(bytes.size() + 1);
    std::copy(bytes.begin(), bytes.end(), shifted.back().begin() + 1);
    return static_cast<void*>(shifted.back().data() + 1);
  };
  UpdateMemory memory = crooked.memory(false);
  memory.gradient = shift(crooked.gradient);
  memory.first = shift(crooked.first);
  (void)fused_update(kind.rule, memory, 0, count, kind.coefficients);
  (void)fused_update(kind.rule, straight.memory(false), 0, count, kind.coefficients);
  EXPECT_EQ(crooked.weights, straight.weights);
}

// A step of a thousandth of the distance between two bfloat16 numbers is lost by nearest rounding, and taken once in
// a thousand times by a random one.
TEST(FusedUpdate, StochasticRoundingKeepsSmallStepsInTheMean) {
  constexpr std::size_t kCount = 4096;
  UpdateCoefficients c;
  c.step_size = 0x1p-7 / 1000;
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::GetChosenTarget().Update(target);
    for (const Rounding rounding : {Rounding::nearest, Rounding::stochastic}) {
      std::vector<std::uint16_t> weights(kCount, narrow_bfloat16(1.5F));
      const std::vector<std::uint16_t> gradient(kCount, narrow_bfloat16(1.0F));
      UpdateMemory memory;
      memory.weights = weights.data();
      memory.gradient = gradient.data();
      memory.element = Element::bfloat16;
      double sum = 0;
      for (std::uint32_t step = 0; step < 100; ++step) {
        sum = fused_update(UpdateRule::sgd, memory, 0, kCount, c, rounding, step).sum;
      }
      const double moved = (1.5 - sum / kCount) / (100 * c.step_size);
      if (rounding == Rounding::nearest) {
        EXPECT_EQ(moved, 0);
      } else {
        // 409,600 draws at 1/1000: standard error 5 %.
        EXPECT_NEAR(moved, 1, 0.25) << hwy::TargetName(target);
      }
    }
  }
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

TEST(Narrow, RoundsToTheNearestNumberOfSixteenBits) {
  // Every float16 stays; what lies between two goes to the nearer, and from the middle to the even one.
  for (std::uint32_t bits = 0; bits < 0x7C00; ++bits) {
    const float x = widen_float16(static_cast<std::uint16_t>(bits));
    ASSERT_EQ(narrow_float16(x), bits);
    ASSERT_EQ(narrow_float16(-x), bits | 0x8000U);
    const float next = bits == 0x7BFF ? 65536.0F : widen_float16(static_cast<std::uint16_t>(bits + 1));
    const float middle = (x + next) / 2;
    ASSERT_EQ(narrow_float16(middle), bits + (bits & 1U)) << bits;
    ASSERT_EQ(narrow_float16(std::nextafterf(middle, 0)), bits);
    ASSERT_EQ(narrow_float16(std::nextafterf(middle, INFINITY)), bits + 1);
  }
  EXPECT_EQ(narrow_float16(INFINITY), 0x7C00);
  EXPECT_TRUE(std::isnan(widen_float16(narrow_float16(NAN))));
  EXPECT_EQ(narrow_bfloat16(1.0F + 0x1p-8F), narrow_bfloat16(1.0F));  // a tie, to even
  EXPECT_EQ(narrow_bfloat16(1.0F + 0x1.8p-7F), narrow_bfloat16(1.0F + 0x1p-6F));
  EXPECT_TRUE(std::isnan(widen_bfloat16(narrow_bfloat16(std::bit_cast<float>(0x7F800001U)))));
}

TEST(FusedUpdate, KeepsNonFiniteNumbersAsSuch) {
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::GetChosenTarget().Update(target);
    for (const Element element : {Element::float32, Element::float16, Element::bfloat16}) {
      std::vector<std::byte> weights = stored_as({1, NAN, INFINITY, 2}, element);
      const std::vector<std::byte> gradient = stored_as({0, 0, 0, INFINITY}, element);
      UpdateMemory memory;
      memory.weights = weights.data();
      memory.gradient = gradient.data();
      memory.element = element;
      UpdateCoefficients c;
      c.step_size = 1;
      (void)fused_update(UpdateRule::sgd, memory, 0, 4, c, Rounding::stochastic, 3);
      SCOPED_TRACE(hwy::TargetName(target));
      EXPECT_EQ(element_at(weights.data(), 0, element), 1);
      EXPECT_TRUE(std::isnan(element_at(weights.data(), 1, element)));
      EXPECT_EQ(element_at(weights.data(), 2, element), INFINITY);
      EXPECT_EQ(element_at(weights.data(), 3, element), -INFINITY);
    }
  }
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

// A gradient of Inf makes second - third² NaN, which a maximum must not turn into zero; nor may the largest second
// moment pass over a NaN.
TEST(FusedUpdate, MaximaPassNanOnAsTorchDoes) {
  using Update = std::function<void(UpdateRule, const UpdateMemory&, const UpdateCoefficients&)>;
  const auto check = [](const Update& update, Element element, UpdateRule rule) {
    std::vector<std::byte> weights = stored_as({1, 1, 1, 1}, element);
    const std::vector<std::byte> gradient = stored_as({INFINITY, 1, NAN, -INFINITY}, element);
    std::vector<std::byte> lines[3];
    for (std::vector<std::byte>& line : lines) {
      line = stored_as({0, 0, 0, 0}, element);
    }
    UpdateMemory memory;
    memory.weights = weights.data();
    memory.gradient = gradient.data();
    memory.first = rule == UpdateRule::adam ? lines[0].data() : nullptr;
    memory.second = lines[1].data();
    memory.third = lines[2].data();
    memory.element = memory.state = element;
    UpdateCoefficients c = base();
    c.first_share = c.second_share = 0.1;
    c.second_keep = 0.9;
    update(rule, memory, c);
    for (const std::size_t i : {0, 2, 3}) {
      EXPECT_TRUE(std::isnan(element_at(weights.data(), i, element))) << i;
    }
    EXPECT_LT(element_at(weights.data(), 1, element), 1);
    EXPECT_TRUE(std::isnan(element_at(lines[2].data(), 2, element)));
  };
  for (const UpdateRule rule : {UpdateRule::rmsprop, UpdateRule::adam}) {
    for (const Element element : {Element::float32, Element::float64}) {
      check([](UpdateRule r, const UpdateMemory& m,
               const UpdateCoefficients& c) { fused_update_portable(r, m, 0, 4, c); },
            element, rule);
      for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
        SCOPED_TRACE(hwy::TargetName(target));
        hwy::GetChosenTarget().Update(target);
        check([](UpdateRule r, const UpdateMemory& m, const UpdateCoefficients& c) { fused_update(r, m, 0, 4, c); },
              element, rule);
      }
      hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    }
  }
}

}  // namespace
}  // namespace gradwise::kernels
