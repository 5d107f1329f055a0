#include <ATen/ops/cat.h>

#include <algorithm>
#include <cmath>

#include "gradwise/curvature/random_vectors.h"
#include "gradwise/curvature/range_sketch.h"
#include "gradwise/curvature/trace_growth.h"

namespace gradwise {
namespace {

constexpr double kAsManyAsNormal = 10'000;  // degrees of freedom

at::Tensor beside(const at::Tensor& columns, const at::Tensor& more) {
  return columns.defined() ? at::cat({columns, more}, 1) : more;
}

// The mean of u'Mu over the columns of u (d, k), uniform on the sphere of radius sqrt(d) of a space that M maps to
// itself. The variance of u'Mu is 2 d/(d + 2) (|M|_F^2 - tr(M)^2/d), which is 2 E[r] for r the squared length of what
// of Mu is not along u.
Estimate mean_on_sphere(const at::Tensor& u, const at::Tensor& Mu, double d) {
  const std::int64_t k = u.size(1);
  const auto count = static_cast<double>(k);
  const at::Tensor samples = column_products(u, Mu);
  const at::Tensor r = column_products(Mu, Mu).sub(samples.square().div(d)).clamp_min(0);
  const double mean = r.mean().item<double>();
  const double spread = k > 1 ? r.var().item<double>() : 0;
  Estimate found{samples.mean().item<double>(), std::sqrt(2 * mean / count), k};
  // More than k - 1, Satterthwaite's, where r is nearly the same for every vector.
  const double degrees = spread > 0 ? std::min(2 * count * mean * mean / spread, kAsManyAsNormal) : 0;
  found.degrees = std::max(k - 1, static_cast<std::int64_t>(degrees));
  return found;
}

Estimate hutch_plus_plus_of(const RangeSketch& sketch, const at::Tensor& G, const at::Tensor& A_G, double exact) {
  const at::Tensor& Q = sketch.Q;
  const at::Tensor along = Q.t().matmul(G);
  const at::Tensor rest = G.sub(Q.matmul(along));
  const at::Tensor A_rest = A_G.sub(sketch.Z.matmul(along));
  // On the sphere of the space that is left, as for xtrace.
  const auto left = static_cast<double>(Q.size(0) - Q.size(1));
  const at::Tensor scale = column_products(rest, rest).div(left).rsqrt();
  const at::Tensor inside = Q.matmul(Q.t().matmul(A_rest));
  Estimate found = mean_on_sphere(rest.mul(scale), A_rest.sub(inside).mul(scale), left);
  found.value += exact;
  found.products = 3 * sketch.columns();
  return found;
}

}  // namespace

Estimate hutch_plus_plus(const LinearOperator& matrix, const TraceOptions& options) {
  check_options("hutch_plus_plus", options, 6);
  RandomVectors random(matrix, options.seed);
  RangeSketch sketch;
  at::Tensor G;
  at::Tensor A_G;
  const std::int64_t most = std::min(options.products / 3, matrix.size());
  return grow_until(options.tolerance, most, [&](std::int64_t more) -> Estimate {
    grow("hutch_plus_plus", sketch, matrix, random.on_sphere(more));
    const double exact = column_products(sketch.Q, sketch.Z).sum().item<double>();
    if (sketch.complete) {
      return {exact, 0, sketch.columns(), 2 * sketch.columns() + (G.defined() ? G.size(1) : 0)};
    }
    const at::Tensor vectors = random.on_sphere(more);
    G = beside(G, vectors);
    A_G = beside(A_G, product(matrix, vectors));
    return hutch_plus_plus_of(sketch, G, A_G, exact);
  });
}

}  // namespace gradwise
