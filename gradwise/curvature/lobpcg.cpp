#include "gradwise/curvature/lobpcg.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <limits>

#include "gradwise/autograd/tensor_entries.h"
#include "gradwise/core/error.h"
#include "gradwise/curvature/random_vectors.h"
#include "gradwise/curvature/range_sketch.h"
#include "gradwise/curvature/ritz.h"
#include "gradwise/curvature/rounding.h"

namespace gradwise {
namespace {

// Columns, and what the matrix makes of them.
struct Multiplied {
  at::Tensor vectors;
  at::Tensor products;

  [[nodiscard]] Multiplied times(const at::Tensor& coefficients) const {
    const at::Tensor c = coefficients.to(vectors.options());
    return {vectors.matmul(c), products.matmul(c)};
  }
};

// Orthonormal columns for what `block` holds beside those of `basis`; what may be rounding is left out, so that they
// may be fewer.
at::Tensor orthonormal_beside(const at::Tensor& basis, at::Tensor block, double epsilon) {
  constexpr int kPasses = 3;  // two are enough but for what the first has left of nearly nothing
  for (int pass = 0; pass < kPasses && block.size(1) > 0; ++pass) {
    block = block.div(block.norm(2, 0).clamp_min(std::numeric_limits<float>::min()));
    block = block.sub(basis.matmul(basis.t().matmul(block)));
    const at::Tensor lengths = block.norm(2, 0);
    const at::Tensor outside = lengths.gt(10 * epsilon).nonzero().squeeze(1);
    block = block.index_select(1, outside).div(lengths.index_select(0, outside));
    if (outside.numel() == 0) {
      break;
    }
    const auto [squares, directions] = at::linalg_eigh(block.t().matmul(block).cpu().to(at::kDouble));
    const double least = 10 * epsilon * static_cast<double>(outside.numel()) * squares.max().item<double>();
    const at::Tensor apart = squares.gt(least).nonzero().squeeze(1);
    const at::Tensor scaled = directions.index_select(1, apart).div(squares.index_select(0, apart).sqrt());
    block = block.matmul(scaled.to(block.options()));
  }
  return block;
}

// X, W and P of the papers, with the Ritz pairs of X in ascending order: `lower` from the lower end, then `upper`.
class BlockOfThree {
 public:
  BlockOfThree(const LinearOperator& matrix, const EigenOptions& options, EndColumns width)
      : matrix_(matrix),
        preconditioner_(options.preconditioner),
        random_(matrix, options.seed),
        epsilon_(epsilon_of(basis_options(matrix).dtype().toScalarType())),
        width_(width) {
    none_ = at::empty({matrix.size(), 0}, basis_options(matrix));
    at::Tensor start = none_;
    for (std::int64_t missing = width.lower + width.upper; missing > 0;
         missing = width.lower + width.upper - start.size(1)) {  // as good as always once
      const at::Tensor more = random_.on_sphere(missing).to(start.options());
      start = at::cat({start, orthonormal_beside(start, more, epsilon_)}, 1);
    }
    X_ = multiplied(start);
    P_ = W_ = {none_, none_};
  }

  [[nodiscard]] std::int64_t products() const { return products_; }
  [[nodiscard]] std::int64_t width() const { return X_.vectors.size(1); }
  [[nodiscard]] const at::Tensor& vectors() const { return X_.vectors; }
  [[nodiscard]] const Ritz& ritz() const { return ritz_; }
  [[nodiscard]] double magnitude() const { return magnitude_; }  // the largest of all Ritz values
  [[nodiscard]] bool spans_all() const { return S_.vectors.size(1) == matrix_.size(); }

  // The Rayleigh-Ritz procedure in S = [X, P, W]: the new X.
  void rotate() {
    S_ = {at::cat({X_.vectors, P_.vectors, W_.vectors}, 1), at::cat({X_.products, P_.products, W_.products}, 1)};
    const at::Tensor projected = S_.vectors.t().matmul(S_.products).cpu().to(at::kDouble);
    check_symmetric("eigenpairs", matrix_, projected, projected.t(), scale_);
    const auto [values, vectors] = at::linalg_eigh(projected.add(projected.t()).mul(0.5));
    magnitude_ = values.abs().max().item<double>();
    const std::int64_t count = values.numel();
    const at::Tensor chosen = at::cat({at::arange(width_.lower), at::arange(count - width_.upper, count)});
    before_ = width();
    C_ = vectors.index_select(1, chosen);
    X_ = S_.times(C_);
    ritz_.values = values.index_select(0, chosen);
    residuals_ = X_.products.sub(X_.vectors.mul(ritz_.values.to(X_.vectors.options())));
    ritz_.residuals = residuals_.norm(2, 0).cpu().to(at::kDouble);
  }

  // What is between the two ends, or beyond the only one, is not known, unless X spans all.
  [[nodiscard]] at::Tensor gaps() const {
    at::Tensor gaps = gaps_of(ritz_);
    if (width() < matrix_.size()) {
      gaps.narrow(0, std::max<std::int64_t>(0, width_.lower - 1), 1).zero_();
      gaps.narrow(0, std::min(width_.lower, width() - 1), 1).zero_();
    }
    return gaps;
  }

  // P and W from the columns `open`: their way from the last X, and their residuals.
  void follow(const at::Tensor& open) {
    const at::Tensor way = C_.index_select(1, open).clone();
    way.narrow(0, 0, before_).zero_();
    P_ = S_.times(orthonormal_beside(C_, way, std::numeric_limits<double>::epsilon()));
    const at::Tensor residuals = residuals_.index_select(1, open.to(residuals_.device()));
    const at::Tensor inside = at::cat({X_.vectors, P_.vectors}, 1);
    at::Tensor next = orthonormal_beside(inside, preconditioned(residuals), epsilon_);
    if (next.size(1) == 0) {  // X is a space that the matrix maps into itself
      next = orthonormal_beside(inside, random_.on_sphere(1).to(inside.options()), epsilon_);
    }
    W_ = multiplied(next);
  }

 private:
  [[nodiscard]] Multiplied multiplied(const at::Tensor& vectors) {
    if (vectors.size(1) == 0) {
      return {vectors, vectors};
    }
    const at::Tensor products = product(matrix_, vectors).to(vectors.scalar_type());
    scale_ = std::max(scale_, products.norm(2, 0).max().item<double>());
    products_ += vectors.size(1);
    return {vectors, products};
  }

  [[nodiscard]] at::Tensor preconditioned(const at::Tensor& residuals) {
    if (preconditioner_ == nullptr) {
      return residuals;
    }
    const at::Tensor found = product(*preconditioner_, residuals);
    const at::Tensor r = residuals.to(at::kDouble);
    const at::Tensor lengths = r.norm(2, 0);
    const at::Tensor along = column_products(r, found).div(lengths.square());
    preconditioner_scale_ = std::max(preconditioner_scale_, found.norm(2, 0).div(lengths).max().item<double>());
    // Rounding makes it negative where the preconditioner is small along r, next to what it is along others.
    const double rounding = std::max(1e-10, rounding_share(*preconditioner_)) * preconditioner_scale_;
    const double least = along.min().item<double>();
    if (least < -rounding) {
      fail("eigenpairs", "the preconditioner is not positive definite: r'Tr / r'r is ", least, " for a residual r");
    }
    return found.to(residuals.scalar_type());
  }

  const LinearOperator& matrix_;
  const LinearOperator* preconditioner_;
  RandomVectors random_;
  double epsilon_;
  EndColumns width_;
  at::Tensor none_;
  Multiplied X_;
  Multiplied P_;
  Multiplied W_;
  Multiplied S_;
  at::Tensor C_;             // of X in terms of S
  std::int64_t before_ = 0;  // rows of it that are of the X before
  at::Tensor residuals_;
  Ritz ritz_;
  double magnitude_ = 0;
  double scale_ = 0;                 // no more than the matrix' norm
  double preconditioner_scale_ = 0;  // likewise of the preconditioner
  std::int64_t products_ = 0;
};

EndColumns width_of(const EigenOptions& options, std::int64_t size) {
  constexpr std::int64_t kSpare = 4;  // beside the vectors asked for, at each end
  const std::int64_t wanted = options.largest + options.smallest;
  const std::int64_t both = options.largest > 0 && options.smallest > 0 ? 2 : 1;
  const std::int64_t good = std::max({both * kSpare, wanted, options.block - wanted});
  const EndColumns width = with_extra(options, std::min(good, size - wanted));
  const std::int64_t few = width.upper + width.lower + wanted;
  GRADWISE_CHECK(options.products >= few, "eigenpairs", "products is ", options.products, ", allowed: >= ", few);
  GRADWISE_CHECK(options.basis == 0, "eigenpairs", "basis is ", options.basis,
                 ", allowed with lobpcg: 0, for it keeps three vectors for each of its block");
  if (options.preconditioner != nullptr) {
    GRADWISE_CHECK(options.preconditioner->size() == size, "eigenpairs", "the preconditioner has ",
                   options.preconditioner->size(), " rows, allowed: ", size);
  }
  return width;
}

// Those of `columns` whose measure is above `bound`.
at::Tensor still_open(const at::Tensor& columns, const std::vector<double>& measures, double bound) {
  return columns.index_select(0, at::tensor(measures, at::kDouble).gt(bound).nonzero().squeeze(1));
}

}  // namespace

Eigenpairs lobpcg(const LinearOperator& matrix, const EigenOptions& options) {
  const double tolerance = std::max(options.tolerance, rounding_share(matrix));
  const std::int64_t wanted = options.largest + options.smallest;
  BlockOfThree block(matrix, options, width_of(options, matrix.size()));
  for (;;) {
    block.rotate();
    const at::Tensor columns = ends(block.width(), options.largest, options.smallest);
    const at::Tensor gaps = block.gaps().index_select(0, columns);
    const std::vector<double> residuals = entries_of(block.ritz().residuals.index_select(0, columns));
    const double bound = tolerance * block.magnitude();
    const at::Tensor open =
        still_open(columns, bounded(options, residuals, value_errors(residuals, gaps)), 0.5 * bound);
    if (open.numel() == 0 || block.spans_all() || block.products() + open.numel() + wanted > options.products) {
      const at::Tensor found_columns = block.vectors().index_select(1, columns.to(block.vectors().device()));
      Eigenpairs found = measured(matrix, block.ritz().values.index_select(0, columns), found_columns.t(), gaps);
      found.products = block.products() + wanted;
      found.converged = std::ranges::max(bounded(options, found.residuals, found.errors)) <= bound;
      return found;
    }
    block.follow(open);
  }
}

}  // namespace gradwise
