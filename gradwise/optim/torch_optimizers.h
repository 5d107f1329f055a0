#pragma once

#include <memory>

#include "gradwise/core/named_parameters.h"
#include "gradwise/core/state.h"
#include "gradwise/optim/optimizer_options.h"

namespace torch::optim {
class Optimizer;
class OptimizerOptions;
}  // namespace torch::optim

/// What Gradwise knows of each optimizer of `torch::optim`; the only file that includes them, for their headers cost
/// half a minute of compile time.
namespace gradwise {

/// The named optimizer, in groups by `options.groups` and `options.decay_vectors`: a FusedOptimizer, or with
/// `options.implementation` = "torch" (and for lbfgs) LibTorch's own. It holds all parameters, so that one that is
/// frozen now may train later; lbfgs those alone that ask for a gradient. Error: none asks for one.
[[nodiscard]] std::unique_ptr<torch::optim::Optimizer> make_optimizer(const OptimizerOptions& options,
                                                                      const NamedParameters& parameters);

/// Whether `step` evaluates the loss itself, through a closure: LBFGS, or what is ClosureDriven.
[[nodiscard]] bool needs_closure(const torch::optim::Optimizer& optimizer);

/// Momentum of SGD and RMSprop, beta1 of the Adam family; `kUnset` for the others, where setting it does nothing.
[[nodiscard]] double momentum_of(const torch::optim::OptimizerOptions& group_options);
void set_momentum(torch::optim::OptimizerOptions& group_options, double momentum);

/// The optimizer's state: per parameter `<parameter>/<moment>` tensors and step counts; of an optimizer that is
/// not LibTorch's own, one archive of `torch::save`. Group options (rates, decays) are in the values.
[[nodiscard]] State optimizer_state(torch::optim::Optimizer& optimizer, const NamedParameters& parameters);
void load_optimizer_state(torch::optim::Optimizer& optimizer, const NamedParameters& parameters, const State& state);

}  // namespace gradwise
