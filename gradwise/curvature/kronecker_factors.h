#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gradwise/core/model.h"
#include "gradwise/curvature/fisher.h"
#include "gradwise/curvature/kronecker_inverse.h"
#include "gradwise/curvature/kronecker_operator.h"
#include "gradwise/curvature/kronecker_options.h"

namespace gradwise {

class KroneckerPasses;

/// The Kronecker-factored approximation of a Fisher matrix, block by block of the linear and convolution layers (KFAC:
/// Martens and Grosse, "Optimizing Neural Networks with Kronecker-factored Approximate Curvature", 2015; convolutions:
/// Grosse and Martens, "A Kronecker-factored Approximate Fisher Matrix for Convolution Layers", 2016), with inverse,
/// eigenvalues and determinant in closed form; positive semi-definite.
///
///   const KroneckerFactors kfac(model, "cross_entropy", read_batches(loader));
///   const KroneckerInverse inverse = kfac.inverse(1e-3);
///   const at::Tensor step = inverse.apply(gradient);
///
/// A layer's weight and bias are one matrix (out, in), with the bias as last column, and one block G ⊗ A, which takes V
/// to G V A. Over N samples of R positions each (rows of a sample; where a convolution's kernel stands) it is, by the
/// "expand" setting of Eschenhagen et al., "Kronecker-Factored Approximate Curvature for Modern Neural Network
/// Architectures", 2023, section 3.2:
///
///   A = 1/(N R) Σ_n Σ_r a aᵀ,   G = Σ_n Σ_r Σ_s b bᵀ
///
/// with a what the layer sees at a position, 1 for the bias included, and b the gradient that comes back to its output
/// there. The "reduce" setting of section 3.3 (option `weight_sharing`) is for models that bring the positions together
/// before the loss, as by pooling, and makes one position of a sample's:
///
///   A = 1/N Σ_n ā āᵀ with ā = 1/R Σ_r a,   G = Σ_n Σ_s (Σ_r b) (Σ_r b)ᵀ
///
/// In both s are the vectors that are sent back from the outputs, each weighted so that the sum over them of J_nᵀ s sᵀ
/// J_n is the matrix that is approximated. Each group of a convolution stands for itself.
///
/// By the loss's name it approximates `Fisher` of the same options: of type exact the vectors are the columns of a root
/// of the Fisher matrix of the outputs, a backward pass for each output of a sample; of type monte_carlo scores at
/// drawn targets, a pass for each draw, at those that `Fisher` draws. By a loss function it approximates
/// `EmpiricalFisher`. Means and sums are theirs. It is exact for one sample of one position, or where the gradients do
/// not depend on the sample, as in linear networks under mse; with several positions, if these are pooled, the reduce
/// setting is.
///
/// EKFAC, the option `corrected` (George et al., "Fast Approximate Natural Gradient Descent in a Kronecker-factored
/// Eigenbasis", 2018): the eigenvalues are the second moments of the samples' gradients along the eigenvectors of G ⊗
/// A, which makes it of all matrices with these eigenvectors the nearest to the block in Frobenius' norm. It takes the
/// passes a second time.
///
/// Layers are found in the graph, whatever the model was written in: products of a weight, with a bias or without, over
/// inputs of any dimensions; convolutions of one to three dimensions. Factors are float64, summed in the order of the
/// mini-batches, and do not depend on how the data set is cut. Gradients, buffers and random state stay as they were;
/// no graph is kept, so that parameters may be written to afterwards.
///
/// Errors: no data, no trainable parameter, several types or devices, a pattern that matches none, as of DataOperator;
/// a parameter that is in no such layer or in several, unless `unsupported` is leave_out (then it has no row);
/// mini-batches whose parameters make up different layers; a batch norm in training mode; an output whose dimension 0
/// is not the samples; factors that are not finite (kind failure). Where `check_deterministic` is on, outputs that
/// differ between two passes. With the correction, the reduce setting, or where that is on: samples that mix, a layer
/// whose rows are none of the samples', as of a table of positions, or lie in an order that is not known; unseen,
/// factors of such rows are of no Fisher matrix.
class KroneckerFactors : public KroneckerOperator {
 public:
  KroneckerFactors(const Model& model, const std::string& loss, std::vector<Batch> batches, FisherOptions fisher = {},
                   const KroneckerOptions& options = {});
  KroneckerFactors(const Model& model, const LossFunction& loss_function, std::vector<Batch> batches,
                   const KroneckerOptions& options = {});

  /// Those of the rows, in their order.
  [[nodiscard]] const NamedParameters& parameters() const { return parameters_; }
  /// Names of those that were left out.
  [[nodiscard]] const std::vector<std::string>& left_out() const { return left_out_; }
  [[nodiscard]] std::int64_t samples() const { return samples_; }

  /// (G ⊗ A + damping I)⁻¹, exact, in the eigenbases. Errors: a damping that is negative or not finite; of kind
  /// failure, an eigenvalue of 0 without damping.
  [[nodiscard]] KroneckerInverse inverse(double damping) const;
  /// (G + √damping/π I)⁻¹ ⊗ (A + π √damping I)⁻¹ with π = √((tr A / in) / (tr G / out)): Martens and Grosse, section
  /// 6.3; π is 1 where a trace is 0. Errors: those of `inverse`; with the correction, which has no factors any more.
  [[nodiscard]] KroneckerInverse factored_inverse(double damping) const;

  /// All of them (size()), float64, descending.
  [[nodiscard]] at::Tensor eigenvalues() const;
  [[nodiscard]] double trace() const;
  [[nodiscard]] double frobenius_norm() const;
  /// Of the matrix plus damping I; minus infinity where that is singular. Error: a damping that is negative or not
  /// finite.
  [[nodiscard]] double log_determinant(double damping) const;

 protected:
  [[nodiscard]] at::Tensor times(std::size_t block, const at::Tensor& matrices) const override;

 private:
  explicit KroneckerFactors(KroneckerPasses passes);

  NamedParameters parameters_;
  std::vector<std::string> left_out_;
  std::int64_t samples_;
  bool corrected_;
};

}  // namespace gradwise
