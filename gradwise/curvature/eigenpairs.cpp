#include "gradwise/curvature/eigenpairs.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/diag.h>
#include <ATen/ops/div.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>

#include "gradwise/autograd/tensor_entries.h"
#include "gradwise/core/error.h"
#include "gradwise/curvature/lobpcg.h"
#include "gradwise/curvature/random_vectors.h"
#include "gradwise/curvature/ritz.h"
#include "gradwise/curvature/rounding.h"

namespace gradwise {
namespace {

// Residuals that are this much longer than what the recurrence does not know of, it gives right to a hundredth.
constexpr double kFarAboveRounding = 100;
constexpr double kShort = 1e-3;  // beside the matrix: such a direction is orthogonalised with particular care

// Of rows with rows. ATen takes ten times as long for the product of one long row with another as a matrix.
at::Tensor inner_products(const at::Tensor& a, const at::Tensor& b) {
  return b.size(0) == 1 ? a.mv(b[0]).unsqueeze(1) : a.matmul(b.t());
}

// An orthonormal basis, of which the first `active_` vectors V have been multiplied: A V' = V' T + P' coupling, with P
// the vectors that wait. Vectors are rows. T and the coupling are small, and on the host.
class ThickRestart {
 public:
  ThickRestart(const LinearOperator& matrix, std::int64_t capacity, std::int64_t block, std::int64_t seed)
      : matrix_(matrix), random_(matrix, seed), block_(block), rounding_(rounding_share(matrix)) {
    basis_ = at::empty({capacity + block, matrix.size()}, basis_options(matrix));
    products_ = at::empty({block, matrix.size()}, basis_options(matrix));
    projected_ = at::zeros({0, 0}, at::kDouble);
    coupling_ = at::zeros({0, 0}, at::kDouble);
    append_start();
    while (waiting_ < std::min(block_, matrix_.size())) {
      append_random();
    }
  }

  [[nodiscard]] std::int64_t active() const { return active_; }
  [[nodiscard]] std::int64_t waiting() const { return waiting_; }
  // The last step found less than it multiplied, and random directions wait in its place.
  [[nodiscard]] bool exhausted() const { return exhausted_; }
  // Length of the longest product: no more than the matrix' norm.
  [[nodiscard]] double scale() const { return scale_; }
  // The largest part of the products, so far, that is not of a symmetric matrix, and so not in T: rounding, or as much
  // more as check_symmetric lets pass.
  [[nodiscard]] double asymmetry() const { return asymmetry_; }
  [[nodiscard]] at::Tensor rows(std::int64_t count) const { return basis_.narrow(0, 0, count); }

  // Multiplies the vectors that wait, and makes the next ones of what is new in the products.
  void step() {
    const std::int64_t filled = active_ + waiting_;
    const at::Tensor waiting = basis_.narrow(0, active_, waiting_);
    const at::Tensor found = products_.narrow(0, 0, waiting_);
    const at::Tensor columns = finite_product(matrix_, waiting.t());
    for (std::int64_t j = 0; j < waiting_; ++j) {
      found[j].copy_(columns.select(1, j));  // all at once, ATen transposes a single row too: ten times as slow
    }
    scale_ = std::max(scale_, found.norm(2, 1).max().item<double>());
    // What is known of the products goes first. The pass over the basis takes off rounding, and one is enough.
    const at::Tensor own = inner_products(waiting, found);
    found.addmm_(own.t(), waiting, 1, -1);
    if (active_ > 0) {
      const std::int64_t coupled = active_ - coupled_from_;
      const at::Tensor known = coupling_.narrow(1, coupled_from_, coupled).to(basis_.options());
      found.addmm_(known, basis_.narrow(0, coupled_from_, coupled), 1, -1);
    }
    const at::Tensor before = found.norm(2, 1);
    const at::Tensor all = rows(filled);
    const at::Tensor overlaps = inner_products(all, found);
    found.addmm_(overlaps.t(), all, 1, -1);
    at::Tensor lengths = found.norm(2, 1);
    if (lengths.div(before).min().item<double>() < kNearlyInside) {
      found.addmm_(inner_products(all, found).t(), all, 1, -1);
      lengths = found.norm(2, 1);
    }
    project(own.cpu().to(at::kDouble), overlaps.cpu().to(at::kDouble));
    active_ = filled;
    const std::int64_t multiplied = waiting_;
    coupled_from_ = active_ - multiplied;
    waiting_ = 0;
    coupling_ = at::zeros({std::min(block_, matrix_.size() - active_), active_}, at::kDouble);
    for (std::int64_t j = 0; j < multiplied; ++j) {
      append(found[j], lengths[j].item<double>(), active_ - multiplied + j);
    }
    exhausted_ = waiting_ < coupling_.size(0);
    while (waiting_ < coupling_.size(0)) {
      append_random();
    }
  }

  [[nodiscard]] Ritz ritz() const {
    auto [values, vectors] = at::linalg_eigh(projected_);
    return {values, vectors, coupling_.matmul(vectors).norm(2, 0)};
  }

  // Keeps the Ritz vectors of `columns` alone, and the vectors that wait.
  void restart(const Ritz& ritz, const at::Tensor& columns) {
    const at::Tensor y = ritz.vectors.index_select(1, columns);
    const std::int64_t kept = columns.numel();
    const at::Tensor waiting = basis_.narrow(0, active_, waiting_).clone();
    basis_.narrow(0, 0, kept).copy_(y.t().to(basis_.options()).matmul(rows(active_)));
    basis_.narrow(0, kept, waiting_).copy_(waiting);
    projected_ = at::diag(ritz.values.index_select(0, columns));
    coupling_ = coupling_.matmul(y);
    coupled_from_ = 0;
    active_ = kept;
  }

 private:
  // Borders T by the overlaps of all vectors with the new products: `known` of those that were multiplied, and what
  // `found` adds, (filled, waiting), to these and to the coupling.
  void project(const at::Tensor& known, const at::Tensor& found) {
    at::Tensor above = found.narrow(0, 0, active_);
    const at::Tensor own = known.add(found.narrow(0, active_, waiting_));
    check_symmetric("eigenpairs", matrix_, own, own.t(), scale_);
    asymmetry_ = std::max(asymmetry_, own.sub(own.t()).norm().item<double>());
    if (active_ > 0) {
      check_symmetric("eigenpairs", matrix_, above, at::zeros_like(above), scale_);
      asymmetry_ = std::max(asymmetry_, above.norm().item<double>());
      above = above.add(coupling_.t());
    }
    const at::Tensor middle = own.add(own.t()).mul(0.5);
    projected_ = at::cat({at::cat({projected_, above}, 1), at::cat({above.t(), middle}, 1)}, 0);
  }

  // What is new in a product, of length `whole`, as the next vector; its coefficients along the new ones go into
  // `column` of the coupling.
  void append(at::Tensor rest, double whole, std::int64_t column) {
    double length = whole;
    if (waiting_ > 0) {
      const at::Tensor before = basis_.narrow(0, active_, waiting_);
      const at::Tensor along = before.mv(rest);
      coupling_.narrow(0, 0, waiting_).select(1, column).copy_(along);
      rest = rest.sub(before.t().mv(along));
      length = rest.norm().item<double>();
    }
    if (waiting_ == coupling_.size(0) || length <= rounding_ * scale_) {
      return;
    }
    if (length > kNearlyInside * whole && length > kShort * scale_) {
      at::Tensor next = basis_[active_ + waiting_++];
      at::div_out(next, rest, at::scalar_tensor(length, at::kDouble));
    } else if (!keep(rest)) {
      return;
    }
    coupling_[waiting_ - 1][column].fill_(length);
  }

  // Half of what the operator knows and half random, so that no eigenvector is left out for certain.
  void append_start() {
    const at::Tensor known = matrix_.leaning();
    const double length = known.defined() ? known.norm().item<double>() : 0;
    if (length > 0 && std::isfinite(length)) {
      const at::Tensor random = random_.on_sphere(1).select(1, 0);
      (void)keep(random.div(random.norm()).add(known, 1 / length).to(basis_.scalar_type()));
    }
  }

  // A direction that no product has shown: the basis spans a space that the matrix maps into itself.
  void append_random() {
    while (!keep(random_.on_sphere(1).select(1, 0).to(basis_.scalar_type()))) {
    }
  }

  bool keep(at::Tensor vector) {
    const at::Tensor all = rows(active_ + waiting_);
    for (int pass = 0; pass < 2; ++pass) {
      vector = vector.div(vector.norm());
      vector = vector.sub(all.t().mv(all.mv(vector)));
    }
    const double length = vector.norm().item<double>();
    if (!(length >= 0.5)) {  // the second pass took much again: nothing but rounding is left
      return false;
    }
    basis_[active_ + waiting_].copy_(vector.div(length));
    ++waiting_;
    return true;
  }

  const LinearOperator& matrix_;
  RandomVectors random_;
  std::int64_t block_;
  double rounding_;  // a direction this short beside the matrix is rounding
  double scale_ = 0;
  double asymmetry_ = 0;
  at::Tensor basis_;
  at::Tensor products_;   // of the vectors that wait
  at::Tensor projected_;  // T
  at::Tensor coupling_;   // (waiting, active), zeros before `coupled_from_`
  std::int64_t coupled_from_ = 0;
  std::int64_t active_ = 0;
  std::int64_t waiting_ = 0;
  bool exhausted_ = false;
};

std::int64_t capacity_of(const EigenOptions& options, std::int64_t size) {
  const std::int64_t wanted = options.largest + options.smallest;
  const std::int64_t few = 2 * wanted + options.block;
  GRADWISE_CHECK(options.products >= few, "eigenpairs", "products is ", options.products, ", allowed: >= ", few);
  const std::int64_t least = std::min(wanted + 2 * options.block, size);
  GRADWISE_CHECK(options.basis == 0 || options.basis >= least, "eigenpairs", "basis is ", options.basis,
                 ", allowed: >= ", least);
  const std::int64_t good = std::max(2 * wanted + 4 * options.block, wanted + 20);
  return std::min(options.basis == 0 ? good : options.basis, size);
}

// Ritz pairs that a restart keeps: those wanted, and some beside them, which are on their way.
at::Tensor kept_columns(const EigenOptions& options, std::int64_t active, std::int64_t capacity) {
  const std::int64_t spare = std::min(active, capacity - options.block) - options.largest - options.smallest;
  const std::int64_t extra = std::max<std::int64_t>(0, spare / 2);
  const EndColumns kept = with_extra(options, extra);
  return ends(active, kept.upper, kept.lower);
}

// A space that the matrix maps into itself holds one copy of each eigenvalue for each vector of the block. Where the
// basis spans one, a random direction is followed, until it has brought no other values.
class Copies {
 public:
  void see(const at::Tensor& values, double bound, bool exhausted, bool full) {
    if (exhausted || (may_be_missing_ && full)) {
      may_be_missing_ = !seen_.defined() || seen_.sub(values).abs().max().item<double>() > bound;
      seen_ = values;
    }
  }
  [[nodiscard]] bool may_be_missing() const { return may_be_missing_; }

 private:
  at::Tensor seen_;
  bool may_be_missing_ = false;
};

Eigenpairs thick_restart_lanczos(const LinearOperator& matrix, const EigenOptions& options) {
  const std::int64_t capacity = capacity_of(options, matrix.size());
  const std::int64_t wanted = options.largest + options.smallest;
  const double tolerance = std::max(options.tolerance, rounding_share(matrix));
  ThickRestart lanczos(matrix, capacity, options.block, options.seed);
  Copies copies;
  std::int64_t products = 0;
  std::int64_t restarts = 0;
  for (;;) {
    products += lanczos.waiting();
    lanczos.step();
    const std::int64_t active = lanczos.active();
    if (active < wanted) {
      continue;
    }
    const Ritz ritz = lanczos.ritz();
    const at::Tensor columns = ends(active, options.largest, options.smallest);
    const at::Tensor values = ritz.values.index_select(0, columns);
    const double bound = tolerance * ritz.values.abs().max().item<double>();
    const bool full = active + lanczos.waiting() > capacity;
    copies.see(values, bound, lanczos.exhausted(), full);
    const at::Tensor gaps = gaps_of(ritz).index_select(0, columns);
    const std::vector<double> residuals = entries_of(ritz.residuals.index_select(0, columns));
    const double worst = std::ranges::max(bounded(options, residuals, value_errors(residuals, gaps)));
    const double unknown = std::max(rounding_share(matrix) * lanczos.scale(), lanczos.asymmetry());
    const bool known = std::ranges::min(residuals) >= kFarAboveRounding * unknown;
    const bool settled = worst <= (known ? 1 : 0.5) * bound && !copies.may_be_missing();
    const bool complete = lanczos.waiting() == 0;
    if (settled || complete || products + lanczos.waiting() + wanted > options.products) {
      const at::Tensor y = ritz.vectors.index_select(1, columns).t().to(lanczos.rows(1).options());
      const at::Tensor vectors = y.matmul(lanczos.rows(active));
      Eigenpairs found = known ? pairs_of(values, vectors, residuals, gaps) : measured(matrix, values, vectors, gaps);
      found.products = products + (known ? 0 : wanted);
      found.restarts = restarts;
      found.converged = std::ranges::max(bounded(options, found.residuals, found.errors)) <= bound &&
                        (complete || !copies.may_be_missing());
      return found;
    }
    if (full) {
      lanczos.restart(ritz, kept_columns(options, active, capacity));
      ++restarts;
    }
  }
}

}  // namespace

Eigenpairs eigenpairs(const LinearOperator& matrix, const EigenOptions& options) {
  check_fields("eigenpairs", options);
  GRADWISE_CHECK(matrix.size() > 0, "eigenpairs", "the operator has no rows");
  const std::int64_t wanted = options.largest + options.smallest;
  GRADWISE_CHECK(wanted >= 1 && wanted <= matrix.size(), "eigenpairs", "largest + smallest is ", wanted,
                 ", allowed: from 1 to ", matrix.size());
  if (options.method == "lobpcg") {
    return lobpcg(matrix, options);
  }
  GRADWISE_CHECK(options.preconditioner == nullptr, "eigenpairs",
                 "a preconditioner is given, and the method is \"lanczos\", allowed with one: lobpcg");
  return thick_restart_lanczos(matrix, options);
}

}  // namespace gradwise
