#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "gradwise/core/model.h"
#include "gradwise/core/state.h"
#include "gradwise/curvature/kronecker_layers.h"
#include "gradwise/curvature/kronecker_operator.h"
#include "gradwise/curvature/kronecker_options.h"
#include "gradwise/curvature/output_vectors.h"

namespace gradwise {

/// The passes over a data set that make the blocks of `KroneckerFactors`, which says what they are and what is refused.
class KroneckerPasses {
 public:
  using VectorsOfBatch = std::function<OutputVectors(const at::Tensor& output, const Batch& batch, std::int64_t index)>;

  KroneckerPasses(Model model, std::vector<Batch> batches, KroneckerOptions options, VectorsOfBatch vectors);

  [[nodiscard]] const NamedParameters& parameters() const { return parameters_; }
  [[nodiscard]] const std::vector<std::string>& left_out() const { return left_out_; }
  [[nodiscard]] std::int64_t samples() const { return samples_; }
  [[nodiscard]] const KroneckerOptions& options() const { return options_; }

  /// One pass, and with the correction a second one, as it needs the bases.
  [[nodiscard]] std::vector<KroneckerBlock> blocks();

 private:
  struct Visit {
    std::size_t index = 0;
    std::int64_t samples = 0;
    at::Tensor output;
    std::vector<RecordedLayer> layers;
    std::int64_t graph_hash = 0;
  };
  /// Of a layer, with the gradients of one vector, each of whose outer products counts `weight`.
  using Work = std::function<void(std::size_t layer, std::int64_t vector, const LayerSamples& samples, double weight)>;

  void choose_parameters();
  [[nodiscard]] Visit record(std::size_t index) const;
  void visit(std::size_t index, bool by_sample, const Work& work);
  // `by_sample`: what they are for, where they are not just a check.
  [[nodiscard]] std::vector<SampleLayout> layouts(Visit& batch, bool by_sample);
  [[nodiscard]] std::vector<KroneckerBlock> new_blocks(const std::vector<RecordedLayer>& layers) const;
  void report();

  Model model_;
  std::vector<Batch> batches_;
  KroneckerOptions options_;
  VectorsOfBatch vectors_;
  NamedParameters parameters_;
  std::vector<std::string> left_out_;
  std::int64_t samples_ = 0;
  State random_;  // that each visit draws from
  std::vector<KroneckerBlock> blocks_;
  std::vector<std::int64_t> signature_;  // of the layers that they are of
  std::map<std::pair<std::int64_t, std::int64_t>, std::vector<SampleLayout>> known_layouts_;  // by samples and graph
  ReusedMemory memory_;
  std::int64_t done_ = 0;
};

}  // namespace gradwise
