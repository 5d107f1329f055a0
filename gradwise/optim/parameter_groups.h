#pragma once

#include <vector>

#include "gradwise/core/named_parameters.h"
#include "gradwise/optim/optimizer_options.h"

namespace gradwise {

struct GroupSetting {
  double lr;
  double weight_decay;
  auto operator<=>(const GroupSetting&) const = default;
};

struct GroupedParameters {
  GroupSetting setting;
  std::vector<at::Tensor> tensors;
};

/// Parameters of equal settings together, by `options.groups` and `options.decay_vectors`; groups in the order of their
/// first parameter, frozen ones last: a step reports the first group's rate. A rule that matches no parameter is an
/// error.
[[nodiscard]] std::vector<GroupedParameters> group_parameters(const OptimizerOptions& options,
                                                              const NamedParameters& parameters);

}  // namespace gradwise
