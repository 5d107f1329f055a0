#include "gradwise/curvature/lanczos.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>

#include "gradwise/core/error.h"
#include "gradwise/curvature/random_vectors.h"
#include "gradwise/curvature/rounding.h"

namespace gradwise {
namespace {

constexpr double kExhausted = 1e-7;  // a new direction this short beside the matrix is rounding

// Eigenvalues, error bounds and weights of the tridiagonal matrix so far.
LanczosResult ritz_values(const std::vector<double>& diagonal, const std::vector<double>& off, double residual) {
  const auto n = static_cast<std::int64_t>(diagonal.size());
  const at::Tensor t = at::zeros({n, n}, at::kDouble);
  auto entries = t.accessor<double, 2>();
  for (std::int64_t i = 0; i < n; ++i) {
    entries[i][i] = diagonal[static_cast<std::size_t>(i)];
    if (i + 1 < n) {
      entries[i][i + 1] = entries[i + 1][i] = off[static_cast<std::size_t>(i)];
    }
  }
  const auto [values, vectors] = at::linalg_eigh(t);
  const at::Tensor columns = vectors.contiguous();
  const auto value = values.accessor<double, 1>();
  const auto column = columns.accessor<double, 2>();
  LanczosResult result;
  for (std::int64_t i = n - 1; i >= 0; --i) {
    result.values.push_back(value[i]);
    result.errors.push_back(std::abs(residual * column[n - 1][i]));
    result.weights.push_back(column[0][i] * column[0][i]);
  }
  return result;
}

bool settled(const LanczosResult& result, std::int64_t wanted, double tolerance) {
  const double size = std::max(std::abs(result.values.front()), std::abs(result.values.back()));
  return std::ssize(result.values) >= wanted &&
         std::all_of(result.errors.begin(), result.errors.begin() + wanted,
                     [bound = tolerance * size](double error) { return error <= bound; });
}

}  // namespace

LanczosResult lanczos(const LinearOperator& matrix, std::int64_t wanted, const LanczosOptions& options) {
  GRADWISE_CHECK(wanted >= 1, "lanczos", "wanted is ", wanted, ", allowed: >= 1");
  check_fields("lanczos", options);
  RandomVectors random(matrix, options.seed);
  at::Tensor q = random.on_sphere(1).select(1, 0);
  q = q.div(q.norm()).to(basis_options(matrix));
  const std::int64_t most = std::min(options.steps, matrix.size());
  const at::Tensor basis = at::empty({most, matrix.size()}, q.options());
  std::vector<double> diagonal;
  std::vector<double> off;
  double size = 0;  // no more than the matrix' norm
  LanczosResult result;
  for (std::int64_t step = 0; step < most; ++step) {
    at::Tensor next = product(matrix, q).to(q.scalar_type());
    size = std::max(size, next.norm().item<double>());
    basis.select(0, step).copy_(q);
    diagonal.push_back(q.dot(next).item<double>());
    // What is known of the product goes first. The pass over the basis takes off rounding, and one is enough; a matrix
    // that is not symmetric leaves more.
    next = next.sub(q, diagonal.back());
    if (step > 0) {
      next = next.sub(basis.select(0, step - 1), off.back());
    }
    const double before = next.norm().item<double>();
    const at::Tensor all = basis.narrow(0, 0, step + 1);
    const at::Tensor overlaps = all.mv(next);
    check_symmetric("lanczos", matrix, overlaps, at::zeros_like(overlaps), size);
    next = next.sub(all.t().mv(overlaps));
    double beta = next.norm().item<double>();
    if (beta < kNearlyInside * before) {
      next = next.sub(all.t().mv(all.mv(next)));
      beta = next.norm().item<double>();
    }
    result.products = step + 1;
    const bool over = beta <= kExhausted * size || step + 1 == most;
    if (over || options.tolerance > 0) {
      const std::int64_t products = result.products;
      result = ritz_values(diagonal, off, beta);
      result.products = products;
      if (over || settled(result, wanted, options.tolerance)) {
        break;
      }
    }
    off.push_back(beta);
    q = next.div(beta);
  }
  if (options.keep_basis) {
    result.basis = basis.narrow(0, 0, result.products);
  }
  return result;
}

}  // namespace gradwise
