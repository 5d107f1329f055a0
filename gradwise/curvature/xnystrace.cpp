// Symbols are those of Epperly, Tropp and Webber, 2024.
#include <ATen/ops/cat.h>
#include <ATen/ops/linalg_cholesky_ex.h>
#include <ATen/ops/linalg_qr.h>

#include <algorithm>
#include <cmath>

#include "gradwise/curvature/exchangeable.h"
#include "gradwise/curvature/random_vectors.h"
#include "gradwise/curvature/range_sketch.h"
#include "gradwise/curvature/rounding.h"
#include "gradwise/curvature/trace_growth.h"

namespace gradwise {
namespace {

// Y = (A + shift I) Omega and C, the upper Cholesky factor of Omega'Y. The shift keeps Cholesky from stumbling over
// eigenvalues that rounding has made negative; its trace is known.
struct Shifted {
  at::Tensor Y;
  at::Tensor C;
  double shift = 0;
};

Shifted shifted_cholesky(const at::Tensor& Omega, const at::Tensor& products, double epsilon) {
  const double least = 10 * epsilon;
  const double norm = products.norm().item<double>() / std::sqrt(static_cast<double>(Omega.size(0)));
  for (double relative = least; relative <= std::sqrt(10 * least); relative *= 100) {
    Shifted found;
    found.shift = relative * norm;
    found.Y = products.add(Omega, found.shift);
    const at::Tensor H = Omega.t().matmul(found.Y);
    const auto [factor, info] = at::linalg_cholesky_ex(H.add(H.t()).mul(0.5), /*upper=*/true);
    if (info.item<int>() == 0) {
      found.C = factor;
      return found;
    }
  }
  fail("xnystrace", "the matrix is not positive semi-definite, allowed for it: xtrace");
}

Estimate xnystrace_of(const at::Tensor& Omega, const at::Tensor& products, double epsilon) {
  const std::int64_t m = Omega.size(1);
  const auto n = static_cast<double>(Omega.size(0));
  if (products.abs().max().item<double>() == 0) {
    return {0, 0, m, m};
  }
  const Shifted shifted = shifted_cholesky(Omega, products, epsilon);
  const auto [Q, R] = at::linalg_qr(shifted.Y);
  const at::Tensor C_inverse = inverse_of_upper(shifted.C);
  const at::Tensor B = R.matmul(C_inverse);  // Nyström's approximation is Q B B'Q'
  const at::Tensor trace = B.square().sum().sub(shifted.shift * n);
  if (Omega.size(0) == m) {
    return {trace.item<double>(), 0, m, m};
  }
  const at::Tensor inverse = C_inverse.matmul(C_inverse.t());
  const at::Tensor own = inverse.diagonal().sqrt();       // of (Omega'Y)^-1
  const at::Tensor S = B.matmul(C_inverse.t()).div(own);  // Q s_i: what column i alone brings
  const at::Tensor sw = column_products(S, Q.t().matmul(Omega)).square();
  const auto [basis, R_Omega] = at::linalg_qr(Omega);
  const at::Tensor R_inverse = inverse_of_upper(R_Omega);
  const at::Tensor gram = R_inverse.matmul(R_inverse.t());  // (Omega'Omega)^-1
  const at::Tensor far = gram.diagonal();  // 1 / |part of omega_i that the other vectors do not span|^2
  const at::Tensor SS = S.t().matmul(S);
  const at::Tensor taken = SS.diagonal();
  const double free = n - static_cast<double>(m);
  const at::Tensor samples = trace.sub(taken).add(sw.mul(far).mul(free + 1));
  // Without vectors i and j: Schur complements of 2 by 2 blocks.
  const at::Tensor rho = inverse.div(own).div(own.unsqueeze(1));
  const at::Tensor det = pair_determinant(rho);
  const at::Tensor removed = taken.add(taken.unsqueeze(1)).sub(rho.mul(SS), 2).div(det);
  const at::Tensor cosines = gram.div(far.sqrt()).div(far.sqrt().unsqueeze(1));
  const at::Tensor far_from_others = pair_determinant(cosines).mul(far);
  const at::Tensor without = trace.sub(removed).add(sw.div(det).mul(far_from_others).mul(free + 2));
  return exchangeable_mean(samples, without, m);
}

// Columns that span with `before` the whole space, at right angles to it and to each other: the trace is exact then by
// any that span it, and its rounding is that of the products where they do so evenly.
at::Tensor completed(const at::Tensor& before, const at::Tensor& vectors) {
  const at::Tensor all = before.defined() ? at::cat({before, vectors}, 1) : vectors;
  const auto [Q, R] = at::linalg_qr(all);
  return Q.narrow(1, all.size(1) - vectors.size(1), vectors.size(1)).mul(std::sqrt(static_cast<double>(all.size(0))));
}

}  // namespace

Estimate xnystrace(const LinearOperator& matrix, const TraceOptions& options) {
  check_options("xnystrace", options, 2);
  RandomVectors random(matrix, options.seed);
  at::Tensor Omega;
  at::Tensor products;
  return grow_until(options.tolerance, std::min(options.products, matrix.size()), [&](std::int64_t more) {
    at::Tensor vectors = random.on_sphere(more);
    if ((Omega.defined() ? Omega.size(1) : 0) + more == matrix.size()) {
      vectors = completed(Omega, vectors);
    }
    const at::Tensor found = product(matrix, vectors);
    Omega = Omega.defined() ? at::cat({Omega, vectors}, 1) : vectors;
    products = products.defined() ? at::cat({products, found}, 1) : found;
    const at::Tensor H = Omega.t().matmul(products);
    check_symmetric("xnystrace", matrix, H, H.t(),
                    std::sqrt(static_cast<double>(matrix.size())) * products.norm().item<double>());
    return xnystrace_of(Omega, products, epsilon_of(matrix));
  });
}

}  // namespace gradwise
