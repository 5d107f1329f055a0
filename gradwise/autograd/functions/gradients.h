#pragma once

#include "gradwise/autograd/functions/tensor_function.h"

namespace gradwise {

struct GradientsOptions {
  bool create_graph = false;  ///< the results can be differentiated again
  bool retain_graph = false;  ///< the graph of the outputs can be gone through again; `create_graph` implies it
};

/// Gradients of `outputs`, each weighted by the tensor of its place in `grad_outputs` (empty: all outputs are scalars
/// and count 1), with respect to `inputs`: parameters, inputs, anything with a graph. Of shape, type and device of the
/// inputs; zeros where no output depends on an input. `.grad` fields stay as they are.
///
/// Errors: no input, an input that asks for no gradient, an output without a graph, an output that is no scalar where
/// `grad_outputs` is empty, shapes that differ; with `create_graph`, the operator without a second derivative is named
/// when the result is differentiated, a function of the user's own too.
[[nodiscard]] Tensors gradients(const Tensors& outputs, const Tensors& inputs, const Tensors& grad_outputs = {},
                                const GradientsOptions& options = {});

/// The gradients, and zeros in place of undefined ones, each of the tensor of its place in `like`.
[[nodiscard]] Tensors filled_with_zeros(Tensors gradients, const Tensors& like);

/// The tensors, of one type and device, as one vector in their order. Error: no tensor.
[[nodiscard]] at::Tensor flattened(const Tensors& tensors);

/// The parts of a vector, in the shapes of `like`; views of it. Error: a tensor that is no vector, or one whose size is
/// not that of all of `like`.
[[nodiscard]] Tensors unflattened(const at::Tensor& vector, const Tensors& like);

/// The mean over the batch of (‖∂output/∂input‖₂ - target)², differentiable: the penalty of Gulrajani et al., "Improved
/// Training of Wasserstein GANs", 2017, equation 3. `input` (batch, ...) asks for a gradient and `output` has its
/// graph; the gradient of a sample is that of the sum of its outputs. Error: a function of the user's own whose
/// gradients are not differentiable.
[[nodiscard]] at::Tensor gradient_penalty(const at::Tensor& output, const at::Tensor& input, double target = 1.0);

}  // namespace gradwise
