#pragma once

#include <string>

namespace torch::autograd {
struct Node;
}

namespace gradwise {

/// The operator of a node of the graph by its short name: "nll" of NllLossBackward0, "log_softmax" of
/// LogSoftmaxBackward0. Empty for what only moves or scales numbers: views, means, products with a number.
[[nodiscard]] std::string operator_name(const torch::autograd::Node& node);

/// Whether it gives the same numbers in another shape.
[[nodiscard]] bool is_view(const torch::autograd::Node& node);

/// Whether the units of its output are channels, in dimension 1: convolutions and norms over channels.
[[nodiscard]] bool has_channel_units(const torch::autograd::Node& node);

/// Whether it hides a graph of its own: what TorchScript's optimiser makes.
[[nodiscard]] bool hides_a_graph(const torch::autograd::Node& node);

}  // namespace gradwise
