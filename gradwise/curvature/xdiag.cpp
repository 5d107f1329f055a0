// Symbols are those of Epperly, Tropp and Webber, 2024.
#include <ATen/ops/zeros_like.h>

#include <algorithm>

#include "gradwise/curvature/exchangeable.h"
#include "gradwise/curvature/random_vectors.h"
#include "gradwise/curvature/range_sketch.h"
#include "gradwise/curvature/trace_growth.h"

namespace gradwise {
namespace {

// diag(Q_* Q_*'A) + omega_i o (I - Q_* Q_*')A omega_i, for the basis Q_* without vector i, or without i and j. All
// columns are of size n; `rho` (k) is s_i'Q'A omega_i.
struct Columns {
  at::Tensor Omega;
  at::Tensor q;  // Q s_i
  at::Tensor z;  // A Q s_i
  at::Tensor rho;
  at::Tensor cosines;  // (k, k), of the s_i

  // What vector i takes from sample i when it leaves the basis.
  [[nodiscard]] at::Tensor own_change() const { return q.mul(Omega.mul(rho).sub(z)); }
};

// The sum over pairs i < j of (d_i - d_i^(j)) (d_j - d_j^(i)), element by element.
at::Tensor pair_sum(const Columns& c, const at::Tensor& own) {
  const at::Tensor det = pair_determinant(c.cosines);
  at::Tensor sum = at::zeros_like(c.q.select(1, 0));
  const std::int64_t k = c.q.size(1);
  for (std::int64_t i = 0; i + 1 < k; ++i) {
    const auto later = [i, k](const at::Tensor& t) { return t.narrow(-1, i + 1, k - i - 1); };
    const at::Tensor g = later(c.cosines[i]);
    const at::Tensor d = later(det[i]);
    const at::Tensor q_i = c.q.narrow(1, i, 1);
    const at::Tensor z_i = c.z.narrow(1, i, 1);
    const at::Tensor Omega_i = c.Omega.narrow(1, i, 1);
    const at::Tensor q_j = later(c.q);
    const at::Tensor z_j = later(c.z);
    const at::Tensor removed = q_i.mul(z_i).add(q_j.mul(z_j)).sub(q_i.mul(z_j).add(q_j.mul(z_i)).mul(g)).div(d);
    const at::Tensor of_i = Omega_i.mul(c.rho[i]).mul(q_i.sub(q_j.mul(g)).div(d));
    const at::Tensor of_j = later(c.Omega).mul(later(c.rho)).mul(q_j.sub(q_i.mul(g)).div(d));
    sum.add_(own.narrow(1, i, 1).add(removed).sub(of_i).mul(later(own).add(removed).sub(of_j)).sum(1));
  }
  return sum;
}

DiagonalEstimate xdiag_of(const RangeSketch& sketch) {
  const auto k = static_cast<double>(sketch.columns());
  const at::Tensor inside = sketch.Q.mul(sketch.Z).sum(1);  // diag(QQ'A)
  if (sketch.complete) {
    return {inside, at::zeros_like(inside), sketch.columns(), 2 * sketch.columns()};
  }
  const at::Tensor S = own_directions(sketch);
  const Columns columns{sketch.Omega, sketch.Q.matmul(S), sketch.Z.matmul(S), column_products(S, sketch.R),
                        S.t().matmul(S)};
  const at::Tensor own = columns.own_change();
  const at::Tensor covariance = pair_sum(columns, own).mul(2 / (k * (k - 1)));
  const at::Tensor variance = own.var(at::IntArrayRef{1}, /*unbiased=*/true).div(k).add(covariance.clamp_min(0));
  return {inside.add(own.mean(1)), variance.sqrt(), sketch.columns(), 2 * sketch.columns()};
}

}  // namespace

DiagonalEstimate xdiag(const LinearOperator& matrix, const TraceOptions& options) {
  check_options("xdiag", options, 4);
  RandomVectors random(matrix, options.seed);
  RangeSketch sketch;
  return grow_until(options.tolerance, std::min(options.products / 2, matrix.size()), [&](std::int64_t more) {
    grow("xdiag", sketch, matrix, random.signs(more));
    return xdiag_of(sketch);
  });
}

}  // namespace gradwise
