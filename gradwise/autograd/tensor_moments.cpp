#include "gradwise/autograd/tensor_moments.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <array>
#include <functional>
#include <iterator>
#include <limits>
#include <mutex>

#include "gradwise/core/tensor_memory.h"

namespace gradwise {
namespace {

constexpr std::int64_t kPiece = static_cast<std::int64_t>(kernels::kPiece);
constexpr std::int64_t kPiecesAtOnce = 64;
constexpr std::int64_t kWorthThreads = 4 * kPiece;

// Neighbouring pieces that are read at once.
struct PieceBatch {
  std::int64_t first;  // element
  std::int64_t count;  // of elements

  [[nodiscard]] std::int64_t pieces() const { return (count + kPiece - 1) / kPiece; }
  [[nodiscard]] std::int64_t begin(std::int64_t piece) const { return first + piece * kPiece; }
  [[nodiscard]] std::int64_t length(std::int64_t piece) const { return std::min(kPiece, count - piece * kPiece); }
};

// Joins what `read_batch` has found of each piece in the order of the pieces: the figures do not depend on the number
// of threads.
template <class Figures, class ReadBatch>
Figures join_pieces(std::int64_t count, const ReadBatch& read_batch) {
  Figures all{};
  std::array<Figures, kPiecesAtOnce> found;  // what they hold is written before it is read
  for (std::int64_t done = 0; done < count; done += kPiecesAtOnce * kPiece) {
    const PieceBatch batch{done, std::min(kPiecesAtOnce * kPiece, count - done)};
    read_batch(batch, found.data());
    std::for_each_n(found.begin(), batch.pieces(), [&all](const Figures& piece) { all.merge(piece); });
  }
  return all;
}

// Reads a piece of memory in parts, by as many threads as ATen has. `read` takes the first element and their number.
template <class Figures, class Read>
Figures read_in_pieces(std::int64_t count, const Read& read) {
  if (count <= kPiece) {
    return read(0, count);
  }
  return join_pieces<Figures>(count, [&read](const PieceBatch& batch, Figures* found) {
    const auto read_some = [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        found[i] = read(batch.begin(i), batch.length(i));
      }
    };
    if (batch.count < kWorthThreads) {
      read_some(0, batch.pieces());
    } else {
      at::parallel_for(0, batch.pieces(), 1, read_some);
    }
  });
}

// The same for a gradient and its sketch. Neighbouring pieces have one sketch between them, so that few go from one
// thread's cache to another's.
constexpr std::int64_t kGroup = 2;  // pieces
static_assert(kPiece % std::ssize(kernels::Sketch()) == 0 && kPiecesAtOnce % kGroup == 0);

template <class Read>
kernels::Moments read_in_groups(std::int64_t count, kernels::Sketch& sketch, const Read& read) {
  std::fill_n(sketch.begin(), std::min(count, std::ssize(sketch)), 0.0F);
  std::array<kernels::Sketch, kPiecesAtOnce / kGroup> parts;  // what they hold is written before it is read
  return join_pieces<kernels::Moments>(count, [&](const PieceBatch& batch, kernels::Moments* found) {
    const std::int64_t pieces = batch.pieces();
    const std::int64_t groups = std::max<std::int64_t>(1, pieces / kGroup);
    const auto read_group = [&](std::int64_t group, kernels::Sketch& into) {
      for (std::int64_t i = group * pieces / groups; i < (group + 1) * pieces / groups; ++i) {
        found[i] = read(batch.begin(i), batch.length(i), into);
      }
    };
    if (groups == 1) {
      return read_group(0, sketch);
    }
    at::parallel_for(0, groups, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t group = begin; group < end; ++group) {
        kernels::Sketch& part = parts[static_cast<std::size_t>(group)];
        part.fill(0);
        read_group(group, part);
      }
    });
    std::for_each_n(parts.begin(), groups, [&sketch](const kernels::Sketch& part) {
      std::transform(sketch.begin(), sketch.end(), part.begin(), sketch.begin(), std::plus<>());
    });
  });
}

kernels::Moments zeros_only(std::int64_t count) {
  kernels::Moments zeros;
  if (count > 0) {
    zeros.count = zeros.zeros = count;
    zeros.min = zeros.max = 0;
  }
  return zeros;
}

}  // namespace

kernels::Moments moments_of(const at::Tensor& tensor) {
  const at::NoGradGuard no_grad;
  const at::Tensor values = in_one_piece(tensor);
  const auto* bytes = static_cast<const std::byte*>(values.const_data_ptr());
  const auto size = static_cast<std::int64_t>(values.element_size());
  const Element element = element_of(values);
  auto moments = read_in_pieces<kernels::Moments>(values.numel(), [&](std::int64_t first, std::int64_t count) {
    return kernels::read_moments(bytes + first * size, static_cast<std::size_t>(count), element);
  });
  if (const std::int64_t absent = tensor.numel() - values.numel(); absent > 0) {  // zeros that are not stored
    moments.merge(zeros_only(absent));
  }
  return moments;
}

// Counts are exact in any order, so each thread takes a part as large as can be.
void add_to_histogram(const at::Tensor& gradient, kernels::Histogram& histogram) {
  const at::NoGradGuard no_grad;
  const at::Tensor values = in_one_piece(gradient);
  const auto* bytes = static_cast<const std::byte*>(values.const_data_ptr());
  const auto size = static_cast<std::int64_t>(values.element_size());
  std::mutex adding;
  at::parallel_for(0, values.numel(), kWorthThreads / 2, [&](std::int64_t begin, std::int64_t end) {
    kernels::Histogram part{};
    kernels::add_to_histogram(bytes + begin * size, static_cast<std::size_t>(end - begin), element_of(values), part);
    const std::lock_guard lock(adding);
    std::transform(histogram.begin(), histogram.end(), part.begin(), histogram.begin(), std::plus<>());
  });
}

kernels::Moments read_gradient(const at::Tensor& gradient, kernels::Sketch& sketch) {
  const at::NoGradGuard no_grad;
  if (gradient.is_sparse()) {
    (void)read_gradient(gradient.to_dense(), sketch);
    return moments_of(gradient);
  }
  const at::Tensor values = in_one_piece(gradient);
  const auto* bytes = static_cast<const std::byte*>(values.const_data_ptr());
  const auto size = static_cast<std::int64_t>(values.element_size());
  const Element element = element_of(values);
  return read_in_groups(values.numel(), sketch, [&](std::int64_t first, std::int64_t count, kernels::Sketch& part) {
    return kernels::read_and_sketch(bytes + first * size, static_cast<std::size_t>(count), element, part,
                                    static_cast<std::size_t>(first) / kernels::kSketchSize);
  });
}

kernels::WeightMoments read_weights(const at::Tensor& weights, const at::Tensor& before) {
  const at::NoGradGuard no_grad;
  const bool as_it_lies = weights.is_non_overlapping_and_dense() && weights.strides() == before.strides();
  const at::Tensor values = as_it_lies ? weights : weights.contiguous();
  const auto* now = static_cast<const std::byte*>(values.const_data_ptr());
  auto* old = static_cast<std::byte*>(before.mutable_data_ptr());
  const auto size = static_cast<std::int64_t>(values.element_size());
  const Element element = element_of(values);
  return read_in_pieces<kernels::WeightMoments>(values.numel(), [&](std::int64_t first, std::int64_t count) {
    return kernels::read_weights(now + first * size, old + first * size, static_cast<std::size_t>(count), element);
  });
}

at::Tensor weight_figures(const at::Tensor& weights, const at::Tensor& before) {
  const at::NoGradGuard no_grad;
  const at::ScalarType wide = weights.device().is_mps() ? at::kFloat : at::kDouble;
  const at::Tensor now = weights.detach().to(wide);
  const at::Tensor old = before.to(wide);
  const at::Tensor largest = now.numel() > 0 ? now.abs().max() : now.sum();
  at::Tensor figures =
      at::stack({now.sum(), now.square().sum(), largest, now.sub(old).square().sum(), old.square().sum()});
  before.copy_(weights);
  return figures;
}

kernels::WeightMoments weight_moments_from(const double* figures, std::int64_t count) {
  return {count, figures[0], figures[1], figures[2], figures[3], figures[4]};
}

at::Tensor gradient_figures(const at::Tensor& gradient) {
  const at::NoGradGuard no_grad;
  const bool has_double = !gradient.device().is_mps();
  const at::Tensor stored = in_one_piece(gradient).reshape({-1});
  const at::Tensor values = stored.to(has_double ? at::kDouble : at::kFloat);
  if (values.numel() == 0) {
    const kernels::Moments none = zeros_only(gradient.numel());
    const auto zeros = static_cast<double>(none.zeros);
    return at::tensor({zeros, zeros, 0.0, 0.0, 0.0, 0.0, 0.0, none.min, none.max}, values.options());
  }
  const at::Tensor finite = values.isfinite();
  const at::Tensor clean = values.where(finite, at::zeros_like(values));
  const auto extreme = [&values, &finite](double sign) {
    return values.where(finite, at::full_like(values, sign * std::numeric_limits<double>::infinity()));
  };
  const std::int64_t absent = gradient.numel() - values.numel();
  const auto least = [absent](const at::Tensor& x) { return absent > 0 ? x.clamp_max(0) : x; };
  const auto most = [absent](const at::Tensor& x) { return absent > 0 ? x.clamp_min(0) : x; };
  const auto number = [&values](const at::Tensor& x) { return x.to(values.scalar_type()); };
  return at::stack({number(at::full_like(values.sum(), static_cast<double>(values.numel() + absent))),
                    number(values.eq(0).sum()).add(static_cast<double>(absent)), number(values.isnan().sum()),
                    number(values.isinf().sum()), clean.sum(), clean.abs().sum(), clean.square().sum(),
                    least(extreme(1).min()), most(extreme(-1).max())});
}

kernels::Moments moments_from(const double* figures) {
  const auto whole = [figures](int i) { return static_cast<std::int64_t>(figures[i]); };
  kernels::Moments moments;
  moments.count = whole(0);
  moments.zeros = whole(1);
  moments.nans = whole(2);
  moments.infs = whole(3);
  moments.sum = figures[4];
  moments.sum_abs = figures[5];
  moments.sum_squares = figures[6];
  moments.min = figures[7];
  moments.max = figures[8];
  return moments;
}

}  // namespace gradwise
