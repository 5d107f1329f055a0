// Traces from a sketch of the matrix: exact where it is large, sampled elsewhere. Symbols are the papers'.
#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_cholesky_ex.h>
#include <ATen/ops/linalg_qr.h>
#include <ATen/ops/linalg_solve_triangular.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "gradwise/core/error.h"
#include "gradwise/curvature/random_vectors.h"
#include "gradwise/curvature/trace.h"

namespace gradwise {
namespace {

Estimate mean_of(const at::Tensor& samples, std::int64_t products) {
  const std::int64_t m = samples.numel();
  // A single sample spans a matrix of one row: it is exact.
  const double deviation = m > 1 ? samples.std().item<double>() : 0;
  return {samples.mean().item<double>(), deviation / std::sqrt(static_cast<double>(m)), m, products};
}

// Relative rounding of the operator's products, which are given as float64 whatever they were made in.
double epsilon_of(const LinearOperator& matrix) {
  switch (matrix.options().dtype().toScalarType()) {
    case at::kFloat:
      return std::numeric_limits<float>::epsilon();
    case at::kHalf:
      return 0x1p-10;
    case at::kBFloat16:
      return 0x1p-7;
    default:
      return std::numeric_limits<double>::epsilon();
  }
}

// diag(Aᵀ B): inner products of columns.
at::Tensor column_products(const at::Tensor& a, const at::Tensor& b) { return a.mul(b).sum(0); }

at::Tensor inverse_of_upper(const at::Tensor& r) {
  return at::linalg_solve_triangular(r, at::eye(r.size(0), r.options()), /*upper=*/true);
}

// Unit vectors s_i: Q s_i is the part of Q's range that column i alone has brought.
at::Tensor own_directions(const at::Tensor& r) {
  const at::Tensor s = inverse_of_upper(r).t();
  return s.div(s.norm(2, 0));
}

bool rank_deficient(const at::Tensor& r, double epsilon) {
  const at::Tensor diagonal = r.diagonal().abs();
  return diagonal.min().item<double>() <= epsilon * static_cast<double>(r.size(0)) * 10 * diagonal.max().item<double>();
}

}  // namespace

Estimate hutch_plus_plus(const LinearOperator& matrix, const TraceOptions& options) {
  GRADWISE_CHECK(options.products >= 6, "hutch_plus_plus", "products is ", options.products, ", allowed: >= 6");
  const std::int64_t k = std::min(options.products / 3, matrix.size());
  RandomVectors random(matrix, options.seed);
  const auto [Q, R] = at::linalg_qr(product(matrix, random.on_sphere(k)));
  const double exact = Q.mul(product(matrix, Q)).sum().item<double>();
  const at::Tensor G = random.on_sphere(k);
  const at::Tensor rest = G.sub(Q.matmul(Q.t().matmul(G)));
  Estimate sampled = mean_of(column_products(rest, product(matrix, rest)), 3 * k);
  sampled.value += exact;
  return sampled;
}

Estimate xtrace(const LinearOperator& matrix, const TraceOptions& options) {
  const auto n = static_cast<double>(matrix.size());
  GRADWISE_CHECK(options.products >= 4, "xtrace", "products is ", options.products, ", allowed: >= 4");
  const std::int64_t k = std::min(options.products / 2, matrix.size());
  RandomVectors random(matrix, options.seed);
  const at::Tensor Omega = random.on_sphere(k);
  const auto [Q, R] = at::linalg_qr(product(matrix, Omega));
  const at::Tensor Z = product(matrix, Q);
  const at::Tensor H = Q.t().matmul(Z);
  const at::Tensor trace = H.trace();
  if (rank_deficient(R, epsilon_of(matrix))) {
    return {trace.item<double>(), 0, k, 2 * k};  // the range of the sketch is that of the matrix
  }
  const at::Tensor W = Q.t().matmul(Omega);
  const at::Tensor T = Z.t().matmul(Omega);
  const at::Tensor S = own_directions(R);
  const at::Tensor HW = H.matmul(W);
  const at::Tensor sw = column_products(S, W);
  const at::Tensor sHs = column_products(S, H.matmul(S));
  // omega_i (I - Q_i Q_iᵀ) A (I - Q_i Q_iᵀ) omega_i, with Q_i the basis without column i.
  const at::Tensor quadratic = column_products(W, HW)
                                   .sub(column_products(T, W))
                                   .add(sw.mul(column_products(S, R.sub(HW))))
                                   .add(sw.mul(column_products(T.sub(H.t().matmul(W)), S)))
                                   .add(sw.square().mul(sHs));
  // Puts what is left of omega_i back on the sphere of the space that it lies in.
  const at::Tensor left = W.square().sum(0).neg().add(n).add(sw.square());
  return mean_of(trace.sub(sHs).add(quadratic.mul(n - static_cast<double>(k) + 1).div(left)), 2 * k);
}

Estimate xnystrace(const LinearOperator& matrix, const TraceOptions& options) {
  const auto n = static_cast<double>(matrix.size());
  GRADWISE_CHECK(options.products >= 2, "xnystrace", "products is ", options.products, ", allowed: >= 2");
  const std::int64_t m = std::min(options.products, matrix.size());
  RandomVectors random(matrix, options.seed);
  const at::Tensor Omega = random.on_sphere(m);
  const at::Tensor products = product(matrix, Omega);
  const double norm = products.norm().item<double>();
  if (norm == 0) {
    return {0, 0, m, m};
  }
  // A shift keeps Cholesky from stumbling over eigenvalues that rounding has made negative; its trace is known.
  const double least = 10 * epsilon_of(matrix);
  double shift = 0;
  at::Tensor Y;
  at::Tensor C;
  for (double relative = least; !C.defined(); relative *= 100) {
    if (relative > std::sqrt(10 * least)) {
      fail("xnystrace", "the matrix is not positive semi-definite, allowed for it: xtrace");
    }
    shift = relative * norm / std::sqrt(n);
    Y = products.add(Omega, shift);
    const at::Tensor H = Omega.t().matmul(Y);
    const auto [factor, info] = at::linalg_cholesky_ex(H.add(H.t()).mul(0.5), /*upper=*/true);
    if (info.item<int>() == 0) {
      C = factor;
    }
  }
  const auto [Q, R] = at::linalg_qr(Y);
  const at::Tensor C_inverse = inverse_of_upper(C);
  const at::Tensor B = R.matmul(C_inverse);                      // Nyström's approximation is Q B Bᵀ Qᵀ
  const at::Tensor own = C_inverse.square().sum(1);              // diag of (OmegaᵀY)^-1
  const at::Tensor S = B.matmul(C_inverse.t()).div(own.sqrt());  // Q s_i: what column i alone brings
  const at::Tensor sw = column_products(S, Q.t().matmul(Omega));
  const auto [basis, R_Omega] = at::linalg_qr(Omega);
  // ‖part of omega_i that the other vectors do not span‖².
  const at::Tensor left = inverse_of_upper(R_Omega).square().sum(1).reciprocal();
  const at::Tensor samples = B.square()
                                 .sum()
                                 .sub(S.square().sum(0))
                                 .add(sw.square().mul(n - static_cast<double>(m) + 1).div(left))
                                 .sub(shift * n);
  return mean_of(samples, m);
}

}  // namespace gradwise
