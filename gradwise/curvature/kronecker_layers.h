#pragma once

#include <optional>
#include <string>
#include <vector>

#include "gradwise/autograd/per_sample/open_use.h"
#include "gradwise/autograd/per_sample/sample_term.h"
#include "gradwise/core/named_parameters.h"

namespace gradwise {

/// A parameter, or a part of it that an operator takes alone, as attention's projections are parts of one weight.
struct LayerPart {
  std::size_t parameter = 0;
  ParameterUse use;
};

/// A product in the graph of a forward pass, x Wᵀ + b or a convolution, with those of its weight and bias that are
/// looked at: one of them at least.
struct RecordedLayer {
  std::optional<LayerPart> weight;
  std::optional<LayerPart> bias;
  OpenUse product;                       ///< the product's operator, with no input where the weight is not looked at
  torch::autograd::Node* sum = nullptr;  ///< that adds the bias, where it is another operator
};

struct RecordedLayers {
  std::vector<RecordedLayer> layers;
  std::vector<std::string> reasons;  ///< of each parameter: why it is in no layer; empty where it is in one
  std::int64_t graph_hash = 0;
};

/// The layers that the parameters make up in the graph of `output`, whatever the model was written in: matrix products
/// of weights, with a bias in the same operator or added to nothing but that product, and convolutions that are not
/// transposed. A parameter is in them as a whole, and each element once.
[[nodiscard]] RecordedLayers recorded_layers(const at::Tensor& output, const std::vector<at::Tensor>& parameters,
                                             std::int64_t samples);

/// Goes back from `output`, weighted by a tensor of its shape, to the layers' products and sets their gradients. Error
/// of `place`: a product that is used beside its bias.
void open_layers(const char* place, std::vector<RecordedLayer>& layers, const at::Tensor& output,
                 const at::Tensor& weights);

/// What goes into a layer and what comes back to its output, for each sample, with a bias as one more input that is
/// always 1 (Martens and Grosse, "Optimizing Neural Networks with Kronecker-factored Approximate Curvature", 2015,
/// section 2.1). Positions are the rows of a sample, or where a convolution's kernel stands; a sample's gradient is the
/// sum over them of gradient * inputᵀ. Each group of a convolution stands for itself.
class LayerSamples {
 public:
  /// Of an open layer. `type`: what it is worked in.
  LayerSamples(const RecordedLayer& layer, SampleLayout layout, std::int64_t samples, at::ScalarType type);

  [[nodiscard]] std::int64_t samples() const { return term_.left.size(0); }
  [[nodiscard]] std::int64_t positions() const { return term_.left.size(3); }
  /// (count, groups, in, positions), of the samples from `first` on. In `memory` until the next call.
  [[nodiscard]] at::Tensor inputs(std::int64_t first, std::int64_t count, ReusedMemory& memory) const;
  /// (count, groups, out, positions).
  [[nodiscard]] at::Tensor gradients(std::int64_t first, std::int64_t count) const;
  /// Samples whose inputs are worked on at once.
  [[nodiscard]] std::int64_t block() const;

 private:
  FactoredTerm term_;
  bool has_bias_;
  at::ScalarType type_;
};

}  // namespace gradwise
