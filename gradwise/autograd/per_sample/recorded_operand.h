#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <variant>
#include <vector>

namespace torch::autograd {
struct Node;
}

namespace gradwise {

/// The second operand (in, out) of a matrix product: its gradient is `scale` * input^T * output gradient.
struct MatrixOperand {
  at::Tensor input;  ///< (rows, in)
  double scale = 1;
};

/// The weight of a convolution of one to three dimensions.
struct ConvolutionOperand {
  at::Tensor input;  ///< (batch, channels, ...)
  std::vector<std::int64_t> stride;
  std::vector<std::int64_t> padding;
  std::vector<std::int64_t> dilation;
  std::int64_t groups = 1;
  bool transposed = false;
};

/// What is spread over the output and multiplied with `factor` (undefined: with 1): biases, weights of norms, learned
/// positions. Its gradient is that of the output times factor and scale, summed to `shape`.
struct BroadcastOperand {
  std::vector<std::int64_t> shape;  ///< the operand's, so that it broadcasts to the output
  at::Tensor factor;                ///< broadcasts to the output
  double scale = 1;
  std::vector<std::int64_t> gradient_shape;  ///< what the output is seen as; empty: as it is
};

/// The table (rows, width) of an embedding.
struct EmbeddingOperand {
  at::Tensor indices;
  std::int64_t padding_index = -1;
};

using Operand = std::variant<MatrixOperand, ConvolutionOperand, BroadcastOperand, EmbeddingOperand>;

/// What autograd has saved for the gradient of input `edge` of a node, which has the shape `shape`; nullopt where no
/// rule is known. Errors: of LibTorch, where a saved tensor has been written over or freed.
[[nodiscard]] std::optional<Operand> recorded_operand(torch::autograd::Node& node, std::size_t edge,
                                                      at::IntArrayRef shape);

/// A view of a tensor that has one dimension more in front, for samples.
using ViewStep = std::function<at::Tensor(const at::Tensor&)>;

/// What a node did to its input to make its output `output`, where that gives the same numbers in another shape, or a
/// part of them; nullopt where it does not.
[[nodiscard]] std::optional<ViewStep> recorded_view(torch::autograd::Node& node, std::uint32_t output);

/// Whether a node is a batch norm that joins the samples of a batch of `samples`: in training mode, and none whose
/// statistics are of one sample each, as instance norm's are.
[[nodiscard]] bool joins_samples(torch::autograd::Node& node, std::int64_t samples);

}  // namespace gradwise
