#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "tests/optim/toy_model.h"
#include "tests/train/list_source.h"

namespace gradwise {

/// A model whose validations give these losses one after the other: with `scripted_loss` and `one_batch()` the i-th
/// forward pass in evaluation mode gives figures[i]. Training moves its one weight by lr a step under plain sgd.
inline Model scripted_model(std::vector<double> figures) {
  struct Script {
    std::vector<double> figures;
    std::size_t next = 0;
    bool training = false;
  };
  const auto script = std::make_shared<Script>();
  script->figures = std::move(figures);
  const at::Tensor weight = random_tensor({1}, 1, at::kDouble).requires_grad_();
  Model model;
  model.parameters.add("weight", weight);
  model.set_training = [script](bool training) { script->training = training; };
  model.is_training = [script] { return script->training; };
  model.forward = [script, weight](const Batch& batch) {
    return script->training ? weight.expand({batch.size()})
                            : weight.detach().mul(0).add(script->figures.at(script->next++)).expand({batch.size()});
  };
  return model;
}

inline at::Tensor scripted_loss(const at::Tensor& output, const at::Tensor& /*target*/) { return output.mean(); }

/// One batch of four samples.
inline ListSource one_batch() { return ListSource(toy_batch(4), 4); }

}  // namespace gradwise
