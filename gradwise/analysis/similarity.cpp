#include "gradwise/analysis/similarity.h"

#include <ATen/ops/outer.h>

#include <algorithm>
#include <cmath>

#include "gradwise/autograd/tensor_entries.h"

namespace gradwise {
namespace {

// |G|^2 and tr(Sigma) without bias.
struct NoiseParts {
  double square = 0;
  double trace = 0;
};

// From the matrix of products <g_i, g_j> of the given rows: |G_B|^2 and mean |g_b|^2, then McCandlish's two unbiased
// estimates with B = n b.
NoiseParts noise_parts_from(const std::vector<double>& gram, std::size_t n, const std::vector<std::size_t>& rows,
                            double samples) {
  const auto count = static_cast<double>(rows.size());
  double small = 0;
  double large = 0;
  for (const std::size_t i : rows) {
    small += gram[i * n + i] / count;
    for (const std::size_t j : rows) {
      large += gram[i * n + j] / (count * count);
    }
  }
  return {(count * large - small) / (count - 1), samples * (small - large) * count / (count - 1)};
}

double jackknife_error(const std::vector<double>& left_out) {
  double mean = 0;
  for (const double value : left_out) {
    mean += value / static_cast<double>(left_out.size());
  }
  double squares = 0;
  for (const double value : left_out) {
    squares += (value - mean) * (value - mean);
  }
  const auto n = static_cast<double>(left_out.size());
  return std::sqrt((n - 1) / n * squares);
}

// Of all pairs that do not touch row `without`.
double mean_cosine(const std::vector<double>& cosines, std::size_t n, std::size_t without) {
  double sum = 0;
  double count = 0;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = i + 1; j < n; ++j) {
      if (i != without && j != without && std::isfinite(cosines[i * n + j])) {
        sum += cosines[i * n + j];
        count += 1;
      }
    }
  }
  return count > 0 ? sum / count : kNotMeasured;
}

}  // namespace

at::Tensor row_cosines(const at::Tensor& rows) {
  const at::Tensor wide = rows.to(at::kDouble);
  const at::Tensor norms = wide.norm(2, 1);
  return wide.mm(wide.t()).div(at::outer(norms, norms)).clamp(-1, 1);
}

Angle angle_of(double cosine) { return {cosine, std::acos(std::clamp(cosine, -1.0, 1.0))}; }

void fill_pair_angles(const at::Tensor& cosines, double threshold, GradientAngles& angles) {
  const auto n = static_cast<std::size_t>(cosines.size(0));
  const std::vector<double> all = entries_of(cosines);
  double radians = 0;
  double conflicting = 0;
  double pairs = 0;
  double least = 1;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = i + 1; j < n; ++j) {
      const double cosine = all[i * n + j];
      if (std::isfinite(cosine)) {
        radians += std::acos(cosine);
        conflicting += std::acos(cosine) > M_PI_2 + threshold ? 1 : 0;
        least = std::min(least, cosine);
        pairs += 1;
      }
    }
  }
  if (pairs == 0) {
    return;
  }
  angles.mean = {mean_cosine(all, n, n), radians / pairs};
  angles.widest = angle_of(least);
  angles.conflicting = conflicting / pairs;
  std::vector<double> left_out;
  for (std::size_t without = 0; n > 2 && without < n; ++without) {
    left_out.push_back(mean_cosine(all, n, without));
  }
  angles.standard_error = left_out.empty() ? kNotMeasured : jackknife_error(left_out);
}

NoiseEstimate noise_scale_of(const at::Tensor& rows, std::int64_t samples) {
  const auto n = static_cast<std::size_t>(rows.size(0));
  const at::Tensor wide = rows.to(at::kDouble);
  const std::vector<double> gram = entries_of(wide.mm(wide.t()));
  std::vector<std::size_t> all;
  for (std::size_t i = 0; i < n; ++i) {
    all.push_back(i);
  }
  NoiseEstimate estimate;
  const NoiseParts whole = noise_parts_from(gram, n, all, static_cast<double>(samples));
  if (!(whole.square > 0)) {
    return estimate;
  }
  estimate.scale = whole.trace / whole.square;
  // The ratio to first order: without a row |G|^2 may fall below 0, where the ratio itself says nothing.
  std::vector<double> left_out;
  for (std::size_t without = 0; n > 2 && without < n; ++without) {
    std::vector<std::size_t> rest = all;
    rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(without));
    const NoiseParts parts = noise_parts_from(gram, n, rest, static_cast<double>(samples));
    left_out.push_back((parts.trace - estimate.scale * parts.square) / whole.square);
  }
  estimate.error = left_out.empty() ? kNotMeasured : jackknife_error(left_out);
  return estimate;
}

void fill_correlation(const at::Tensor& rows, std::int64_t samples, GradientCorrelation& correlation) {
  const at::Tensor wide = rows.to(at::kDouble);
  correlation.micro_batches = entries_of(row_cosines(wide));
  correlation.centred = entries_of(row_cosines(wide.sub(wide.mean(1, /*keepdim=*/true))));
  const at::Tensor gram = wide.mm(wide.t());
  const double total = wide.sum(0).square().sum().item<double>();
  correlation.diversity = total > 0 ? gram.trace().item<double>() / total : kNotMeasured;
  double least = 0;
  const std::vector<double> products = entries_of(gram);
  const auto n = static_cast<std::size_t>(rows.size(0));
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      least = i != j ? std::min(least, products[i * n + j]) : least;
    }
  }
  correlation.confusion = std::max(0.0, -least);
  const NoiseEstimate noise = noise_scale_of(wide, samples);
  correlation.noise_scale = noise.scale;
  correlation.noise_scale_error = noise.error;
  correlation.suggested_batch_size = noise.scale > 0 ? std::max<std::int64_t>(1, std::llround(noise.scale)) : 0;
}

}  // namespace gradwise
