// Symbols are those of Epperly, Tropp and Webber, 2024. For a symmetric A, whose T = Z'Omega is R.
#include <algorithm>

#include "gradwise/curvature/exchangeable.h"
#include "gradwise/curvature/random_vectors.h"
#include "gradwise/curvature/range_sketch.h"
#include "gradwise/curvature/trace_growth.h"

namespace gradwise {
namespace {

Estimate xtrace_of(const RangeSketch& sketch, double n) {
  const std::int64_t k = sketch.columns();
  const at::Tensor H = sketch.Q.t().matmul(sketch.Z);
  const at::Tensor trace = H.trace();
  if (sketch.complete) {
    return {trace.item<double>(), 0, k, 2 * k};
  }
  const at::Tensor W = sketch.Q.t().matmul(sketch.Omega);
  const at::Tensor S = own_directions(sketch);
  const at::Tensor left_over = sketch.R.sub(H.matmul(W));         // Q'A(I - QQ')Omega
  const at::Tensor beyond = column_products(W, left_over).neg();  // omega_i'(I - QQ')A(I - QQ')omega_i
  const at::Tensor square = W.square().sum(0).neg().add(n);       // |(I - QQ')omega_i|^2
  const at::Tensor sw = S.t().matmul(W);                          // in row j, column i: s_j'w_i
  const at::Tensor sf = S.t().matmul(left_over);
  const at::Tensor sHs = S.t().matmul(H).matmul(S);
  const at::Tensor sw_own = sw.diagonal();
  const at::Tensor sf_own = sf.diagonal();
  const at::Tensor sHs_own = sHs.diagonal();
  const auto free = n - static_cast<double>(k);
  // Without its own vector: what is left of omega_i is put back on the sphere of the space that it lies in.
  const at::Tensor quadratic = beyond.add(sw_own.mul(sf_own), 2).add(sw_own.square().mul(sHs_own));
  const at::Tensor samples = trace.sub(sHs_own).add(quadratic.mul(free + 1).div(square.add(sw_own.square())));
  // Without vectors i and j: the part of w_i in the span of s_i and s_j is alpha s_i + beta s_j.
  const at::Tensor g = S.t().matmul(S);
  const at::Tensor det = pair_determinant(g);
  const at::Tensor alpha = sw_own.sub(g.mul(sw)).div(det);
  const at::Tensor beta = sw.sub(g.mul(sw_own)).div(det);
  const at::Tensor removed = sHs_own.add(sHs_own.unsqueeze(1)).sub(g.mul(sHs), 2).div(det);
  const at::Tensor form = beyond.add(alpha.mul(sf_own).add(beta.mul(sf)), 2)
                              .add(alpha.square().mul(sHs_own))
                              .add(alpha.mul(beta).mul(sHs), 2)
                              .add(beta.square().mul(sHs_own.unsqueeze(1)));
  const at::Tensor left = square.add(alpha.mul(sw_own)).add(beta.mul(sw));
  Estimate found = exchangeable_mean(samples, trace.sub(removed).add(form.mul(free + 2).div(left)), 2 * k);
  found.degrees = k - 1;  // where few vectors make the error, it is told too large rather than too small
  return found;
}

}  // namespace

Estimate xtrace(const LinearOperator& matrix, const TraceOptions& options) {
  check_options("xtrace", options, 4);
  RandomVectors random(matrix, options.seed);
  RangeSketch sketch;
  return grow_until(options.tolerance, std::min(options.products / 2, matrix.size()), [&](std::int64_t more) {
    grow("xtrace", sketch, matrix, random.on_sphere(more));
    return xtrace_of(sketch, static_cast<double>(matrix.size()));
  });
}

}  // namespace gradwise
