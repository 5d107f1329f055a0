#pragma once

#include <cstddef>
#include <cstdint>

#include "gradwise/core/element.h"
#include "gradwise/core/reading.h"

/// An optimizer's update, its average and what is measured of it, in one pass over memory.
namespace gradwise::kernels {

enum class UpdateRule { adam, sgd, rmsprop, adagrad, lion };

/// How a float32 result becomes an element of a narrower type. Stochastic rounding is of bfloat16 alone; float16 is
/// rounded to nearest, ties to even.
enum class Rounding { nearest, stochastic };

/// One tensor's coefficients in one step. With w the weight, and the lines of UpdateMemory under their names:
///
///   g = grad_scale·gradient + l2·w;   w = keep·w
///   adam:    first += first_share·(g - first);  second = second_keep·second + second_share·g²
///            third = max(third, second) where there is a third;  v = third or second
///            w -= step_size·first / (root_scale·√v + eps)
///   sgd:     first = first_keep·first + first_share·g where there is a first
///            w -= step_size·(first, or g + look_ahead·first with look_ahead > 0, or g without a first)
///   rmsprop: second = second_keep·second + second_share·g²
///            third += second_share·(g - third), v = max(second - third², 0) where there is a third;  d = g / (√v +
///            eps) first = first_keep·first + d, w -= step_size·first where there is a first;  else w -= step_size·d
///   adagrad: second += g²;  w -= step_size·g / (√second + eps)
///   lion:    w -= step_size·sign(first + look_ahead·(g - first));  first += first_share·(g - first)
///   average += average_share·(w - average)
///   max is NaN where one of its arguments is.
///
/// These are the forms of torch.optim's `_single_tensor_*` functions; Lion is algorithm 2 of Chen et al. 2023.
struct UpdateCoefficients {
  double grad_scale = 1;
  double l2 = 0;
  double keep = 1;
  double step_size = 0;
  double first_keep = 0;
  double first_share = 0;
  double second_keep = 0;
  double second_share = 0;
  double root_scale = 1;
  double look_ahead = 0;
  double eps = 0;
  double average_share = 0;
};

/// Where one tensor's numbers lie. A line that the rule or the options have no use for is null. Weights, gradient and
/// average are of `element`, the optimizer's lines of `state`; float64 weights have a float64 state. Lines do not
/// overlap, and need no alignment.
struct UpdateMemory {
  void* weights = nullptr;
  const void* gradient = nullptr;
  void* first = nullptr;
  void* second = nullptr;
  void* third = nullptr;
  void* average = nullptr;
  Element element = Element::float32;
  Element state = Element::float32;
};

/// What is updated after a piece: the start of another tensor, or nothing. Where tensors are small, the hardware would
/// notice each of their lines too late to have it in the cache.
struct NextUpdate {
  const UpdateMemory* memory = nullptr;
  std::size_t count = 0;
};

/// Updates the elements from `begin` on, and fetches `next` into the cache meanwhile. float64 is computed in float64,
/// everything else in float32; the sums are joined in double between blocks of 1,024 elements and are of the weights as
/// they are stored. `seed` picks the numbers of stochastic rounding, which depend on it and on the place of an element
/// alone, so that the result does not depend on how a tensor is cut where the cuts are at multiples of 1,024.
/// Thread-safe for parts that do not overlap.
WeightMoments fused_update(UpdateRule rule, const UpdateMemory& memory, std::size_t begin, std::size_t count,
                           const UpdateCoefficients& coefficients, Rounding rounding = Rounding::nearest,
                           std::uint32_t seed = 0, NextUpdate next = {});

/// Its reference: element by element in double.
WeightMoments fused_update_portable(UpdateRule rule, const UpdateMemory& memory, std::size_t begin, std::size_t count,
                                    const UpdateCoefficients& coefficients, Rounding rounding = Rounding::nearest,
                                    std::uint32_t seed = 0);

}  // namespace gradwise::kernels
