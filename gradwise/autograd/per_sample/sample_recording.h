#pragma once

#include <map>
#include <string>
#include <vector>

#include "gradwise/autograd/per_sample/parameter_use.h"
#include "gradwise/autograd/per_sample/sample_term.h"
#include "gradwise/core/model.h"

namespace gradwise {

/// A term and where in its parameter it belongs.
struct PlacedTerm {
  ParameterUse use;
  SampleTerm term;
};

/// A batch whose samples' gradients can be asked for.
struct RecordedSamples {
  at::Tensor input;
  at::Tensor target;
  std::int64_t samples = 0;
  at::Tensor losses;                           ///< (samples), with their graph
  bool by_rules = false;                       ///< `terms` tell the gradients; else vmap, or a pass for each sample
  bool random = false;                         ///< the model draws random numbers
  std::vector<std::vector<PlacedTerm>> terms;  ///< of each parameter; none: it plays no part
};

/// The term of a parameter that is used once, in one outer product a sample; null where it is not so.
[[nodiscard]] const FactoredTerm* outer_product(const RecordedSamples& batch, std::size_t parameter);

/// Records batches of a model, and gives the gradients of their samples.
///
/// By rules: one forward pass and one backward pass that computes no parameter's gradient, only those that arrive at
/// the operators that take a parameter; what autograd has saved for these operators and what arrives at them tells
/// each sample's gradient. Where the samples are in an operator's rows is found out, not assumed: at the first batch
/// with a graph, in a mode of the model, a second backward pass with the samples weighted shows which layout is right
/// (`is_laid_out`), and the gradient of one sample is compared with that of a pass over it alone (in norm, to 1e-6 in
/// float64, 1e-2 in float32, 0.1 below; not where the model draws random numbers).
///
/// Where an operator has no rule, no layout is right, or the comparison fails, vmap goes over the samples, if the model
/// has its `forward_with` and draws no random numbers. Else, and where vmap fails, every sample is a forward and a
/// backward pass of its own. `loop_reason` says why, and which it is. What vmap can't go over it is not given again, in
/// the same mode with samples of the same shapes; that memory was short, or that a sample's own pass throws too, tells
/// nothing of the next batch.
class SampleRecorder {
 public:
  SampleRecorder(Model model, LossFunction loss_function);

  [[nodiscard]] const NamedParameters& parameters() const { return parameters_; }
  [[nodiscard]] const Model& model() const { return model_; }
  [[nodiscard]] const std::string& loop_reason() const { return loop_reason_; }
  [[nodiscard]] ReusedMemory& memory() { return memory_; }

  [[nodiscard]] RecordedSamples record(const at::Tensor& input, const at::Tensor& target);

  /// Writes the gradients of the samples from `first` on to a place (count, shape of the parameter...) for each
  /// parameter; an undefined place is passed over.
  void write(const RecordedSamples& batch, std::int64_t first, const std::vector<at::Tensor>& places);

  /// Reused memory for `count` gradients of a parameter, (count, shape of the parameter...).
  enum class Place { result, block };
  [[nodiscard]] at::Tensor place(Place kind, std::size_t parameter, std::int64_t count);

  /// How many samples' gradients are made at a time where they are not kept.
  [[nodiscard]] std::int64_t samples_at_once() const;

  /// The gradients of one sample, from a pass over it alone.
  [[nodiscard]] std::vector<at::Tensor> gradients_of_one(const RecordedSamples& batch, std::int64_t sample) const;

 private:
  using Kind = std::vector<std::int64_t>;  // what the knowledge of a batch holds for

  [[nodiscard]] bool is_training() const { return model_.is_training && model_.is_training(); }
  // The terms of the batch; why there are none, in words.
  [[nodiscard]] std::string find_terms(RecordedSamples& batch);
  // Whether vmap has written them; where it failed just now, `failure` is why.
  [[nodiscard]] bool write_by_vmap(const RecordedSamples& batch, std::int64_t first,
                                   const std::vector<at::Tensor>& places, std::string& failure);
  [[nodiscard]] bool agrees_with_one(const RecordedSamples& batch);
  void write_parameter(const std::vector<PlacedTerm>& terms, std::int64_t first, const at::Tensor& place);

  Model model_;
  LossFunction loss_function_;
  NamedParameters parameters_;
  bool losses_by_loop_ = false;
  std::map<Kind, std::vector<SampleLayout>> known_layouts_;  // by samples, graph, mode, nodes and shapes
  std::string no_rules_;                                     // why the rules do not tell the batch
  std::string loop_reason_;
  std::map<Kind, std::string> vmap_failures_;  // by the mode and the shapes of a sample
  ReusedMemory memory_;
};

}  // namespace gradwise
