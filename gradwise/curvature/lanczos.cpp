#include "gradwise/curvature/lanczos.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>

#include "gradwise/core/error.h"
#include "gradwise/curvature/lanczos_recurrence.h"
#include "gradwise/curvature/rounding.h"

namespace gradwise {
namespace {

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
  LanczosRecurrence run(matrix, options.steps, options.seed);
  const at::Tensor basis = at::empty({std::min(options.steps, matrix.size()), matrix.size()}, run.due().options());
  LanczosResult result;
  while (!run.over()) {
    basis.select(0, run.steps()).copy_(run.due());
    // What is known of the product goes first. The pass over the basis takes off rounding, and one is enough; a matrix
    // that is not symmetric leaves more.
    at::Tensor left = run.left_of(finite_product(matrix, run.due()));
    const double before = left.norm().item<double>();
    const at::Tensor all = basis.narrow(0, 0, run.steps());
    const at::Tensor overlaps = all.mv(left);
    check_symmetric("lanczos", matrix, overlaps, at::zeros_like(overlaps), run.magnitude());
    left = left.sub(all.t().mv(overlaps));
    double length = left.norm().item<double>();
    if (length < kNearlyInside * before) {
      left = left.sub(all.t().mv(all.mv(left)));
      length = left.norm().item<double>();
    }
    run.advance(left, length, kExhausted);
    if (run.over() || options.tolerance > 0) {
      result = run.ritz_values();
      if (settled(result, wanted, options.tolerance)) {
        break;
      }
    }
  }
  if (options.keep_basis) {
    result.basis = basis.narrow(0, 0, result.products);
  }
  return result;
}

}  // namespace gradwise
