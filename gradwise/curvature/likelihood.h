#pragma once

#include <ATen/core/DimVector.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

namespace gradwise {

/// The distributions over targets that a model's outputs stand for where its loss is the logarithm of a likelihood,
/// p(y | f) ∝ exp(-loss(f, y)) for each of the loss's terms:
///
///   cross_entropy          categorical, logits along dimension 1     one term a position
///   binary_cross_entropy   Bernoulli, each output a logit            one term an output
///   mse                    normal of variance 1/2 about the output   one term an output
struct Likelihood {
  enum class Kind { categorical, bernoulli, normal };
  Kind kind = Kind::categorical;

  /// By the loss's name. Error of place "fisher": a loss that is none of these.
  [[nodiscard]] static Likelihood of_loss(const std::string& loss);

  /// Error of `place`: an output whose dimension 0 is not the samples, or without a dimension of classes where it has
  /// to have one.
  void check_output(const char* place, const at::Tensor& output, std::int64_t samples) const;
  /// Terms of a loss that is a mean: what it divides by.
  [[nodiscard]] std::int64_t terms(const at::Tensor& output) const;
  /// Numbers that one draw of a mini-batch's targets takes: (n, ...).
  [[nodiscard]] at::DimVector draw_shape(const at::Tensor& output) const;
  /// The Fisher matrix of the outputs, in closed form, times a tensor of their shape; the sum over terms.
  [[nodiscard]] at::Tensor fisher_times(const at::Tensor& output, const at::Tensor& vector) const;
  /// Column `index` of a square root S of that matrix, for every sample at once: S Sᵀ is the matrix of a sample's
  /// outputs, and S has as many columns as a sample has outputs. Of the output's shape.
  [[nodiscard]] at::Tensor root_column(const at::Tensor& output, std::int64_t index) const;
  /// The derivative of each term's loss by the output, at targets drawn by `uniform` (as draw_shape, from 0 to below
  /// 1). Of the output's shape.
  [[nodiscard]] at::Tensor drawn_scores(const at::Tensor& output, const at::Tensor& uniform) const;
};

}  // namespace gradwise
