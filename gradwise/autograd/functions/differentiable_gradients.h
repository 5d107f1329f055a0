#pragma once

#include <string>
#include <vector>

#include "gradwise/autograd/functions/tensor_function.h"

namespace torch::autograd {
struct Node;
}  // namespace torch::autograd

namespace gradwise {

/// `torch::autograd::grad` of the outputs, each weighted by the tensor of its place (undefined: a scalar that counts
/// 1), with a graph that is kept and one of the gradients themselves; undefined where there is none.
///
/// A function of the user's own may give a gradient that has lost its graph: in Python it is marked
/// @once_differentiable, in both languages its backward may run without gradients or on detached tensors. LibTorch
/// takes the derivative of such a gradient for 0. Here its graph ends in a node that tells so where a backward pass
/// comes by, and that `check_goes_on` finds. A gradient counts as lost where it has no graph though what arrived at the
/// function has one, and is not 0; so it is no matter whether the function is linear. Within the layers of `torch.func`
/// but vmap nothing is looked for.
/// `create_graph` false: without a graph of the gradients, and nothing of all this.
[[nodiscard]] Tensors differentiable_gradients(const Tensors& outputs, const Tensors& inputs, const Tensors& weights,
                                               bool create_graph = true);

/// The weights of outputs, each with a graph that leads nowhere where it has none and a function of the user's own is
/// behind an output: what such functions lose shows by it. To be called before vmap hides a dimension of the weights;
/// else differentiable_gradients does.
[[nodiscard]] Tensors with_starts(const Tensors& outputs, Tensors weights);

/// The nodes behind the outputs that are of functions of the user's own.
[[nodiscard]] std::vector<torch::autograd::Node*> nodes_of_users_functions(const Tensors& outputs);

/// As LibTorch names the backward in Python, "CubeBackward"; in C++ the class.
[[nodiscard]] std::string function_name(const torch::autograd::Node& node);

/// Error: the graph of a tensor ends where a derivative was lost; names the function.
void check_goes_on(const char* place, const Tensors& tensors);

}  // namespace gradwise
