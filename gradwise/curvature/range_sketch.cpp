#include "gradwise/curvature/range_sketch.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_qr.h>
#include <ATen/ops/linalg_solve_triangular.h>
#include <ATen/ops/zeros.h>

#include <tuple>

#include "gradwise/curvature/rounding.h"

namespace gradwise {
namespace {

bool rank_deficient(const at::Tensor& r, double epsilon) {
  const at::Tensor diagonal = r.diagonal().abs();
  return diagonal.min().item<double>() <= epsilon * static_cast<double>(r.size(0)) * 10 * diagonal.max().item<double>();
}

// Orthonormal columns beside Q for those of Y, with their coefficients: Y = Q above + Q_new below. Twice, for the part
// that is left may be rounding alone.
struct Extension {
  at::Tensor Q_new;
  at::Tensor above;
  at::Tensor below;
};

Extension extend(const at::Tensor& Q, const at::Tensor& Y) {
  const at::Tensor first = Q.t().matmul(Y);
  const auto [basis, R] = at::linalg_qr(Y.sub(Q.matmul(first)));
  const at::Tensor second = Q.t().matmul(basis);
  const auto [Q_new, correction] = at::linalg_qr(basis.sub(Q.matmul(second)));
  return {Q_new, first.add(second.matmul(R)), correction.matmul(R)};
}

}  // namespace

at::Tensor column_products(const at::Tensor& a, const at::Tensor& b) { return a.mul(b).sum(0); }

at::Tensor inverse_of_upper(const at::Tensor& r) {
  return at::linalg_solve_triangular(r, at::eye(r.size(0), r.options()), /*upper=*/true);
}

at::Tensor own_directions(const RangeSketch& sketch) {
  const at::Tensor s = inverse_of_upper(sketch.R).t();
  return s.div(s.norm(2, 0));
}

void grow(const char* place, RangeSketch& sketch, const LinearOperator& matrix, const at::Tensor& vectors) {
  const at::Tensor Y = product(matrix, vectors);
  if (sketch.columns() == 0) {
    sketch.Omega = vectors;
    std::tie(sketch.Q, sketch.R) = at::linalg_qr(Y);
    sketch.Z = product(matrix, sketch.Q);
  } else {
    const Extension next = extend(sketch.Q, Y);
    const at::Tensor below_old = at::zeros({next.below.size(0), sketch.columns()}, Y.options());
    sketch.R = at::cat({at::cat({sketch.R, next.above}, 1), at::cat({below_old, next.below}, 1)}, 0);
    sketch.Omega = at::cat({sketch.Omega, vectors}, 1);
    sketch.Q = at::cat({sketch.Q, next.Q_new}, 1);
    sketch.Z = at::cat({sketch.Z, product(matrix, next.Q_new)}, 1);
  }
  sketch.complete = sketch.columns() == matrix.size() || rank_deficient(sketch.R, epsilon_of(matrix));
  check_symmetric(place, matrix, sketch.Z.t().matmul(vectors), sketch.Q.t().matmul(Y), Y.norm().item<double>());
}

}  // namespace gradwise
