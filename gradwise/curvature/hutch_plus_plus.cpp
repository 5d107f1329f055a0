#include <ATen/ops/cat.h>

#include <algorithm>
#include <cmath>

#include "gradwise/curvature/random_vectors.h"
#include "gradwise/curvature/range_sketch.h"
#include "gradwise/curvature/trace_growth.h"

namespace gradwise {
namespace {

at::Tensor beside(const at::Tensor& columns, const at::Tensor& more) {
  return columns.defined() ? at::cat({columns, more}, 1) : more;
}

}  // namespace

Estimate hutch_plus_plus(const LinearOperator& matrix, const TraceOptions& options) {
  check_options("hutch_plus_plus", options, 6);
  const auto n = static_cast<double>(matrix.size());
  RandomVectors random(matrix, options.seed);
  RangeSketch sketch;
  at::Tensor G;
  at::Tensor A_G;
  return grow_until(
      options.tolerance, std::min(options.products / 3, matrix.size()), [&](std::int64_t more) -> Estimate {
        grow("hutch_plus_plus", sketch, matrix, random.on_sphere(more));
        const std::int64_t k = sketch.columns();
        const at::Tensor& Q = sketch.Q;
        const double exact = column_products(Q, sketch.Z).sum().item<double>();
        if (sketch.complete) {
          return {exact, 0, k, 2 * k + (G.defined() ? G.size(1) : 0)};
        }
        const at::Tensor vectors = random.on_sphere(more);
        G = beside(G, vectors);
        A_G = beside(A_G, product(matrix, vectors));
        const at::Tensor along = Q.t().matmul(G);
        const at::Tensor rest = G.sub(Q.matmul(along));
        const at::Tensor A_rest = A_G.sub(sketch.Z.matmul(along));
        // On the sphere of the space that is left, as for xtrace.
        const at::Tensor samples =
            column_products(rest, A_rest).div(column_products(rest, rest)).mul(n - static_cast<double>(k));
        const double error = samples.std().item<double>() / std::sqrt(static_cast<double>(k));
        return {exact + samples.mean().item<double>(), error, k, 3 * k};
      });
}

}  // namespace gradwise
