#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gradwise/core/model.h"

namespace gradwise {

class SampleRecorder;
struct RecordedSamples;

/// Norms of the samples' gradients; each of shape (samples), in float32 at least.
struct SampleNorms {
  at::Tensor norms;                         ///< over all parameters
  std::vector<at::Tensor> parameter_norms;  ///< of each parameter, in the order of `parameters()`
};

/// Moments over the samples' gradients, coordinate by coordinate: of each parameter a tensor of its shape. They are
/// summed up in float64.
struct SampleMoments {
  NamedParameters mean;
  NamedParameters second_moment;    ///< mean of the squares
  NamedParameters signal_to_noise;  ///< mean^2 / variance (unbiased); infinite where the variance is 0, NaN at 0 / 0
};

struct ClippedGradient {
  NamedParameters gradient;  ///< the sum of the clipped gradients, not their mean
  at::Tensor norms;          ///< (samples), before clipping
};

/// The simple noise scale tr(Sigma) / |G|^2 (McCandlish et al., "An Empirical Model of Large-Batch Training", 2018,
/// formula 2.9), from the norms of the samples' gradients and of their mean, without bias in numerator and denominator
/// (appendix A.1, with batches of one sample and of all). Where the samples' gradients are nearly the same, so that the
/// difference of these norms would be rounding, from the coordinates' variances, summed up in float64.
struct SampleNoise {
  double variance = 0;      ///< tr(Sigma)
  double squared_norm = 0;  ///< |G|^2 of the true gradient; below 0 where the batch does not show it
  double noise_scale = 0;   ///< in samples; NaN where `squared_norm` is not above 0
};

/// The gradient of every sample's loss, and what can be told of them without making them.
///
///   PerSampleGradients per_sample(model, loss_function);
///   per_sample.gradients(x, y).tensors[0];           // (samples, shape of the first parameter...)
///   per_sample.norms(x, y).norms;                    // (samples)
///   per_sample.clipped_gradient(x, y, 1.0).gradient;
///
/// The results are those of a loop that gives the model and the loss each sample as a batch of one (N = 1), so a mean
/// over the batch in the loss plays no part. Samples are along dimension 0 of input, target and output; `target` may be
/// undefined where the loss needs none. Any model will do: its autograd graph is read. Linear layers, convolutions,
/// embeddings, layer, group, RMS and instance norms, batch norm in evaluation mode, and what is composed of them (cells
/// of recurrent networks, attention) take one forward and one backward pass over the batch. Anything else is gone over
/// by vmap where the model has its `forward_with` (Python's modules do), draws no random numbers, and vmap can; else it
/// takes a pass for each sample. `loop_reason` says why, and which it is. Random operators (dropout) draw for every
/// sample, and where they do the comparison of the batch with a single sample (`SampleRecorder`) is left out.
///
/// Gradients, buffers, modes and random state of the model stay as they were. Not for several threads at once.
///
/// Errors: no parameter asks for a gradient; parameters of the same name, or of complex numbers; an input, output or
/// target without one row a sample; a loss of several elements or without a graph; a batch norm in training mode, which
/// joins the samples.
class PerSampleGradients {
 public:
  PerSampleGradients(Model model, LossFunction loss_function);
  ~PerSampleGradients();
  PerSampleGradients(PerSampleGradients&&) noexcept;
  PerSampleGradients& operator=(PerSampleGradients&&) noexcept;

  /// The parameters that ask for a gradient.
  [[nodiscard]] const NamedParameters& parameters() const;

  /// The gradients themselves, (samples, shape...) for each parameter. They are written to the same memory at the next
  /// call that asks for gradients or inner products: clone what is to stay.
  [[nodiscard]] NamedParameters gradients(const at::Tensor& input, const at::Tensor& target);

  /// A parameter that is used once is not made its gradients where the Gram form or an outer product tells the norms.
  [[nodiscard]] SampleNorms norms(const at::Tensor& input, const at::Tensor& target);

  /// (samples, samples): inner products over all parameters.
  [[nodiscard]] at::Tensor inner_products(const at::Tensor& input, const at::Tensor& target);

  [[nodiscard]] SampleMoments moments(const at::Tensor& input, const at::Tensor& target);

  /// Each sample's gradient is scaled by min(1, max_norm / (norm + 1e-6)) and they are summed up, as differentially
  /// private training does (Abadi et al., "Deep Learning with Differential Privacy", 2016), in two passes: the norms,
  /// then one backward pass with the samples' losses weighted (Lee and Kifer, "Scaling up Differentially Private Deep
  /// Learning with Fast Per-Example Gradient Clipping", 2021). Error: max_norm is not above 0.
  [[nodiscard]] ClippedGradient clipped_gradient(const at::Tensor& input, const at::Tensor& target, double max_norm);

  /// Error: fewer than two samples.
  [[nodiscard]] SampleNoise noise_scale(const at::Tensor& input, const at::Tensor& target);

  /// Why the rules did not tell the last batch, and whether it took vmap or a pass for each sample; empty where they
  /// did.
  [[nodiscard]] const std::string& loop_reason() const;

 private:
  using Weigh = std::function<at::Tensor(const at::Tensor& norms)>;
  struct WeightedSum {
    at::Tensor norms;
    std::vector<at::Tensor> gradients;
  };

  // The sum of the samples' gradients, each weighted by what `weigh` makes of its norm.
  [[nodiscard]] WeightedSum weighted_sum(const at::Tensor& input, const at::Tensor& target, const Weigh& weigh);
  // The sum of the coordinates' variances, and the squared norm of the mean, both in float64.
  [[nodiscard]] std::pair<double, double> summed_variance(const at::Tensor& input, const at::Tensor& target);
  [[nodiscard]] std::vector<at::Tensor> places(std::int64_t samples);
  [[nodiscard]] SampleNorms norms_of(const RecordedSamples& batch);
  [[nodiscard]] std::vector<at::Tensor> norms_by_blocks(const RecordedSamples& batch, const std::vector<bool>& wanted);
  [[nodiscard]] NamedParameters named(std::vector<at::Tensor> tensors) const;

  std::unique_ptr<SampleRecorder> recorder_;
};

}  // namespace gradwise
