#pragma once

#include <functional>
#include <memory>
#include <string>

#include "benchmarks/diagnosis/scenario.h"
#include "gradwise/core/model.h"

namespace gradwise::bench {

/// What a fault may change of a network.
struct NetworkOptions {
  std::string activation = "relu";  ///< relu, tanh, sigmoid or none
  std::string output = "none";      ///< what stands before the loss: none, softmax, sigmoid or relu
  double gain = 1;                  ///< initial weights are multiplied by it
  double constant = -1;             ///< >= 0: all initial weights are this
  double bias = 0;                  ///< of hidden layers, at the start
  double recurrent_gain = 1;
  std::int64_t detached_after = -1;  ///< the gradient ends behind this layer
  std::int64_t frozen = 0;           ///< so many of the first layers ask for no gradient
  std::int64_t broken_layer = -1;    ///< an operator behind it makes NaN
  std::int64_t broken_from = 0;      ///< from this forward pass on
  bool batch_norm = false;
  bool evaluated = false;  ///< batch norm runs in evaluation mode while training
};

/// A network for samples of this shape. Its layers are called "layer0", "layer1", ..., "head".
[[nodiscard]] Model make_network(const Scenario& scenario, const std::vector<std::int64_t>& sample,
                                 std::int64_t outputs, const NetworkOptions& options);

}  // namespace gradwise::bench
