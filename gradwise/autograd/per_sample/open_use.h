#pragma once

#include <optional>
#include <vector>

#include "gradwise/autograd/per_sample/parameter_use.h"
#include "gradwise/autograd/per_sample/sample_layout.h"

namespace gradwise {

/// A use of a parameter with what the backward pass gives of it.
struct OpenUse {
  std::size_t parameter = 0;
  ParameterUse use;
  Operand operand;
  at::Tensor gradient = {};  ///< of the operator's output
};

/// The gradients that arrive at nodes, of their first outputs, where each root is weighted by a tensor of its shape; no
/// further one is computed. Undefined where none arrives. The graph is kept. `create_graph`: they have graphs of their
/// own.
[[nodiscard]] std::vector<at::Tensor> arriving_gradients(const std::vector<at::Tensor>& roots,
                                                         const std::vector<at::Tensor>& weights,
                                                         const std::vector<torch::autograd::Node*>& nodes,
                                                         bool create_graph);
/// Of one root, without graphs.
[[nodiscard]] std::vector<at::Tensor> arriving_gradients(const at::Tensor& root, const at::Tensor& weights,
                                                         const std::vector<torch::autograd::Node*>& nodes);

/// Where the layouts of all uses are right for their gradients, which are of the sum of `losses` (samples); nullopt
/// where samples mix. `certain` is false where several layouts are right, as for gradients of zero or of rounding.
[[nodiscard]] std::optional<std::vector<SampleLayout>> layouts_of(const at::Tensor& losses,
                                                                  const std::vector<OpenUse>& uses, bool& certain);

}  // namespace gradwise
