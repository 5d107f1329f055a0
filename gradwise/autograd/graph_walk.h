#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gradwise/core/named_parameters.h"
#include "gradwise/core/reading.h"

namespace gradwise {

/// What a loss's graph shows of the forward pass that made it.
struct GraphWalk {
  std::vector<ActivationReading> activations;  ///< in the order of the forward pass
  std::vector<BatchNormReading> batch_norms;
  std::vector<std::string> loss_path;  ///< operators behind the last layer, as {"softmax", "log_softmax", "nll"}
  std::int64_t hidden = 0;             ///< nodes that hide a graph of their own (TorchScript's optimised ones)
  std::int64_t unreadable = 0;         ///< activations whose memory was written over since
};

/// Goes through the graph of a loss and reads the activations that autograd has kept for its backward: results of ReLU,
/// sigmoid, tanh and softmax, inputs of GELU, SiLU, ELU, leaky ReLU and hardtanh. It changes nothing (but runs a
/// checkpointed function once more, which writes its buffers again), and any model will do, whatever it was written in.
/// To be called before backward, which frees what is read here.
///
///   const at::Tensor loss = ...;
///   for (const ActivationReading& a : walk_graph(loss, model.parameters).activations) ...
///   loss.backward();
///
/// A layer is named after the parameter nearest below the activation. A unit is a channel (dimension 1) behind a
/// convolution or a norm over channels, else an index of the last dimension; it is dead where its slope is (nearly) 0
/// for every sample of the batch and every position. Figures are computed on the tensors' device and fetched together.
/// Errors: a loss without a graph; one that has been through backward already.
[[nodiscard]] GraphWalk walk_graph(const at::Tensor& loss, const NamedParameters& parameters);

/// Reads, during the next backward pass of a loss, the norm of the gradient that reaches each activation of a walk.
///
///   ActivationGradients gradients(loss);
///   GraphWalk walk = walk_graph(loss, model.parameters);
///   loss.backward();
///   gradients.read_into(walk);
///
/// The hooks live in the loss's graph and go with it.
class ActivationGradients {
 public:
  explicit ActivationGradients(const at::Tensor& loss);
  /// Fills in `grad_norm` of the activations, which are those of a walk of the same loss. NaN where no gradient came.
  void read_into(GraphWalk& walk) const;

 private:
  struct Norms;
  std::shared_ptr<Norms> norms_;
};

}  // namespace gradwise
