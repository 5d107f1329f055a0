#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gradwise/autograd/per_sample/recorded_operand.h"

namespace gradwise {

/// An operator that a parameter goes into, as it is or through views.
struct ParameterUse {
  torch::autograd::Node* node = nullptr;  ///< of the graph, which must outlive this
  std::size_t edge = 0;                   ///< which input of the operator
  std::vector<ViewStep> steps;            ///< from the parameter to that input
  std::vector<std::int64_t> shape;        ///< of that input
};

/// The uses of each parameter in the graph of a loss; none where it does not depend on one.
struct ParameterUses {
  std::vector<std::vector<ParameterUse>> of_parameters;
  std::string unknown;          ///< where the views of a parameter can't be followed: why, in words
  std::int64_t graph_hash = 0;  ///< of the graph's operators, their connections and shapes
};

/// Goes through the graph of `losses`. Error: a batch norm in training mode, which joins the samples of the batch.
[[nodiscard]] ParameterUses parameter_uses(const at::Tensor& losses, const std::vector<at::Tensor>& parameters,
                                           std::int64_t samples);

/// The part of `gradients` (count, shape of the parameter...) that a use writes to; a view.
[[nodiscard]] at::Tensor place_of(const ParameterUse& use, const at::Tensor& gradients);

}  // namespace gradwise
