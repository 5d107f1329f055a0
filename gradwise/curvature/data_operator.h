#pragma once

#include <ATen/core/Generator.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "gradwise/core/fields.h"
#include "gradwise/core/model.h"
#include "gradwise/core/state.h"
#include "gradwise/curvature/linear_operator.h"
#include "gradwise/curvature/recorded_model.h"

namespace gradwise {

struct CurvatureOptions {
  std::vector<std::string> parameters = {};           ///< patterns of names; empty: all trainable ones
  std::string reduction = "mean";                     ///< of the loss over samples, and so of the matrix: mean, sum
  std::int64_t memory_bound = std::int64_t{1} << 30;  ///< bytes of graphs that are kept; 0: no bound
  bool check_deterministic = true;                    ///< also that samples are apart, and the loss goes over them
  /// Told of each mini-batch that is done, when the operator is made and at each product.
  std::function<void(std::int64_t done, std::int64_t total)> progress = nullptr;
};

template <class Fields>
void describe(Fields& fields, CurvatureOptions& o) {
  fields.add("parameters", o.parameters, "patterns of the names of the parameters, all trainable ones where empty",
             anything());
  fields.add("reduction", o.reduction, "how the loss, and so the matrix, goes over samples", one_of({"mean", "sum"}));
  fields.add("memory_bound", o.memory_bound, "bytes of graphs that are kept, 0: no bound", at_least(0));
  fields.add("check_deterministic", o.check_deterministic,
             "refuse a loss that differs from pass to pass, or is no mean or sum over samples", anything());
}

/// What a mini-batch gives of a matrix, from graphs that are kept as long as `apply` is.
struct BatchCurvature {
  at::Tensor loss = {};      ///< without a graph, where the operator looks at one
  at::Tensor gradient = {};  ///< of the loss, likewise
  std::function<at::Tensor(const at::Tensor& vector)> apply = nullptr;  ///< the product of the batch's matrix
  /// Random figures whose mean is the trace of the batch's matrix, where the operator has them: see
  /// layer_trace_draws.h.
  std::function<std::vector<double>(const NamedParameters&, std::int64_t count, at::Generator&)> layer_trace_draws =
      nullptr;
};

/// A matrix over a model's parameters, flattened in their order, that is made of a loss over a data set: the sum over
/// mini-batches of their matrices, weighted by their share of the samples (mean) or by 1 (sum). So it does not depend
/// on how the data set is cut, if the loss goes over samples as `reduction` says.
///
/// Every mini-batch's graph is recorded when the operator is made, and kept for all products within `memory_bound`;
/// what goes beyond is recorded anew at each visit, and takes the memory of one mini-batch more. Several columns go
/// through one visit. Sums are float64 and in the order of the batches. Gradients, buffers and random state stay as
/// they were; what draws random numbers draws the same at each visit, and in each mini-batch.
///
/// Errors: no data, an empty mini-batch; no trainable parameter, a pattern that matches none, parameters of several
/// types or devices; a loss that is not a scalar or has no graph. Where `check_deterministic` is on, what two passes
/// over the first mini-batch show: a loss that differs, and a product (of a single mini-batch, whose graph is kept, an
/// output); a batch norm that makes a sample's output depend on its mini-batch; with several mini-batches a loss that
/// is not the mean or the sum over samples that `reduction` says. Of a product: a shape, type or device that does not
/// fit, parameters that were written to since, a model in another mode than then where a graph is recorded anew, an
/// operator of the model that lacks a derivative, values that are not finite (kind failure).
class DataOperator : public LinearOperator {
 public:
  [[nodiscard]] std::int64_t size() const override { return size_; }
  [[nodiscard]] at::TensorOptions options() const override { return parameters_.tensors.front().options(); }
  /// By apply_columns.
  [[nodiscard]] at::Tensor apply(const at::Tensor& vector) const override;
  [[nodiscard]] at::Tensor apply_columns(const at::Tensor& columns) const override;
  /// The gradient, which lies in the space of the largest eigenvalues for the most part once a network trains (Gur-Ari,
  /// Roberts and Dyer, "Gradient Descent Happens in a Tiny Subspace", 2018).
  [[nodiscard]] at::Tensor leaning() const override { return gradient_; }

  /// Those of the rows, in their order.
  [[nodiscard]] const NamedParameters& parameters() const { return parameters_; }
  [[nodiscard]] std::int64_t samples() const { return samples_; }
  /// Mini-batches whose graphs are kept.
  [[nodiscard]] std::int64_t kept_batches() const;

 protected:
  /// From a forward pass over the mini-batch of an index.
  using Record = std::function<BatchCurvature(const RecordedModel&, const Batch&, std::int64_t index)>;

  /// A loss that is to be a mean or a sum over samples where mini-batches are added up, or `always`. Null: it is.
  struct LossOverSamples {
    LossFunction function = nullptr;
    bool always = false;
  };

  /// `place` is the operator's, for errors.
  DataOperator(const char* place, Model model, std::vector<Batch> batches, CurvatureOptions options, Record record,
               const LossOverSamples& loss);
  DataOperator(const char* place, Model model, std::vector<Batch> batches, CurvatureOptions options, Record record);
  /// `count` sums over mini-batches of their `layer_trace_draws`.
  [[nodiscard]] std::vector<double> data_layer_trace_draws(std::int64_t count, at::Generator& generator) const;
  /// The loss's gradient over the data set, in the operator's type; undefined where batches give none.
  [[nodiscard]] const at::Tensor& data_gradient() const { return gradient_; }

 private:
  struct Pass {
    at::Tensor output;
    BatchCurvature curvature;
  };

  void record_all(const LossOverSamples& loss);
  [[nodiscard]] BatchCurvature record_batch(std::size_t index) const;
  [[nodiscard]] BatchCurvature record_first_batch(const LossOverSamples& loss) const;
  void check_first_pass(const Pass& first, const LossOverSamples& loss) const;
  [[nodiscard]] Pass pass_over(std::size_t index) const;
  [[nodiscard]] double weight(std::size_t index) const;
  void check_columns(const at::Tensor& columns) const;
  void check_unchanged() const;
  void report(std::size_t done) const;

  const char* place_;
  Model model_;
  std::vector<Batch> batches_;
  CurvatureOptions options_;
  Record record_;
  NamedParameters parameters_;
  std::int64_t size_ = 0;
  std::int64_t samples_ = 0;
  State random_;                      // that each visit draws from
  std::vector<BatchCurvature> kept_;  // without `apply` where the graph is not kept
  NamedParameters watched_;           // that are not to be written to
  std::vector<std::int64_t> versions_;
  bool training_ = false;
  at::Tensor gradient_;
};

/// All mini-batches of the first epoch, copied. Memory: that of the data.
[[nodiscard]] std::vector<Batch> read_batches(BatchSource& data);

/// Errors of `place`: no parameter, parameters of several types or devices; no mini-batch, an empty one.
void check_over_data(const char* place, const NamedParameters& parameters, const std::vector<Batch>& batches);

}  // namespace gradwise
