#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gradwise/autograd/per_sample/parameter_use.h"
#include "gradwise/curvature/linear_operator.h"

namespace gradwise {

/// Where a layer's weight or bias is in a vector over the parameters.
struct KroneckerPart {
  std::int64_t first_row = 0;       ///< of the parameter
  std::vector<std::int64_t> shape;  ///< of the parameter
  ParameterUse use;                 ///< leads to the part that the layer takes; its node is gone
};

/// The diagonal block of a layer: of its weight and bias, seen as a matrix (out, in) with the bias as last column. Each
/// group of a convolution has factors of its own. All tensors are float64.
struct KroneckerBlock {
  std::string name;  ///< of the weight, or of the bias where it is alone
  std::optional<KroneckerPart> weight;
  std::optional<KroneckerPart> bias;
  at::Tensor input_factor;     ///< A (groups, in, in)
  at::Tensor gradient_factor;  ///< G (groups, out, out)
  at::Tensor input_values;     ///< eigenvalues of A (groups, in), ascending
  at::Tensor input_basis;      ///< its eigenvectors, in columns
  at::Tensor gradient_values;  ///< likewise of G
  at::Tensor gradient_basis;
  at::Tensor eigenvalues;  ///< of the block, in the product of the bases (groups, out, in)
};

/// Sets the eigenvalues and bases of a block from its factors. Rounding below 0 is taken for 0.
void decompose(KroneckerBlock& block);

/// A matrix over the parameters that is made of the layers' blocks. Products are worked in float64 and given in the
/// parameters' type. Errors of a product: a shape, type or device that does not fit.
class KroneckerOperator : public LinearOperator {
 public:
  [[nodiscard]] std::int64_t size() const override { return size_; }
  [[nodiscard]] at::TensorOptions options() const override { return options_; }
  [[nodiscard]] at::Tensor apply(const at::Tensor& vector) const override;
  [[nodiscard]] at::Tensor apply_columns(const at::Tensor& columns) const override;

  /// In the order of their weights.
  [[nodiscard]] const std::vector<KroneckerBlock>& blocks() const { return blocks_; }

 protected:
  /// `place` is the operator's, for errors.
  KroneckerOperator(const char* place, std::vector<KroneckerBlock> blocks, std::int64_t size, at::TensorOptions options)
      : place_(place), blocks_(std::move(blocks)), size_(size), options_(options) {}

  /// What the matrix makes of vectors in a block's rows, seen as matrices (count, groups, out, in).
  [[nodiscard]] virtual at::Tensor times(std::size_t block, const at::Tensor& matrices) const = 0;

 private:
  const char* place_;
  std::vector<KroneckerBlock> blocks_;
  std::int64_t size_;
  at::TensorOptions options_;
};

/// The matrices times the block that has `values` (groups, out, in) in place of its eigenvalues.
[[nodiscard]] at::Tensor times_in_eigenbasis(const KroneckerBlock& block, const at::Tensor& values,
                                             const at::Tensor& matrices);

}  // namespace gradwise
