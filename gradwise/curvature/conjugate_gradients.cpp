#include <ATen/ops/zeros_like.h>

#include <cmath>

#include "gradwise/core/error.h"
#include "gradwise/curvature/right_side.h"
#include "gradwise/curvature/rounding.h"
#include "gradwise/curvature/solve.h"

namespace gradwise {

Solution conjugate_gradients(const LinearOperator& matrix, const at::Tensor& b, const SolveOptions& options) {
  const at::Tensor right = right_side("conjugate_gradients", matrix, b);
  check_fields("conjugate_gradients", options);
  const double bound = options.tolerance * right.norm().item<double>();
  Solution found;
  at::Tensor x = at::zeros_like(right);
  at::Tensor r = right;
  at::Tensor p = r;
  at::Tensor p_before;
  at::Tensor Ap_before;
  double square = r.square().sum().item<double>();
  while (std::sqrt(square) > bound && found.iterations + 1 < options.products) {
    const at::Tensor Ap = product(matrix, p).add(p, options.damping);
    const double curvature = p.dot(Ap).item<double>();
    if (!(curvature > 0)) {
      fail("conjugate_gradients", "the curvature p'(A + damping I)p / p'p is ",
           curvature / p.square().sum().item<double>(), " along direction ", found.iterations + 1,
           ", allowed: > 0; a larger damping, or lsmr (least squares), takes such matrices");
    }
    if (found.iterations == 1) {
      check_symmetric("conjugate_gradients", matrix, p_before.dot(Ap), p.dot(Ap_before),
                      p_before.norm().item<double>() * Ap.norm().item<double>());
    }
    const double alpha = square / curvature;
    x = x.add(p, alpha);
    r = r.sub(Ap, alpha);
    const double next = r.square().sum().item<double>();
    p_before = p;
    Ap_before = Ap;
    p = r.add(p, next / square);
    square = next;
    ++found.iterations;
  }
  const double length = right.norm().item<double>();
  found.x = x;
  found.products = found.iterations + 1;
  const at::Tensor rest = right.sub(product(matrix, x)).sub(x, options.damping);
  found.residual = length > 0 ? rest.norm().item<double>() / length : 0;
  // The recurrence's residual and the true one part by rounding.
  found.converged = found.residual <= 2 * options.tolerance;
  return found;
}

}  // namespace gradwise
