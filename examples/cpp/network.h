#pragma once

#include <functional>
#include <vector>

#include "gradwise/core/model.h"

/// Dense layers of these widths with `activation` between them: weights and biases drawn as `torch.nn.Linear` draws
/// them, from the global generator and in its order, named as in an `nn.Sequential` of layers and activations.
[[nodiscard]] gradwise::Model dense_network(const std::vector<std::int64_t>& widths,
                                            const std::function<at::Tensor(const at::Tensor&)>& activation,
                                            at::ScalarType type = at::kFloat);
