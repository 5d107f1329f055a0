#include "gradwise/curvature/output_vectors.h"

namespace gradwise {

OutputVectors root_vectors(const Likelihood& likelihood, const at::Tensor& output, bool mean) {
  const at::Tensor values = output.detach();
  return {values.numel() / values.size(0), mean ? 1 / static_cast<double>(likelihood.terms(values)) : 1,
          [likelihood, values](std::int64_t index) { return likelihood.root_column(values, index); }};
}

OutputVectors drawn_vectors(const Likelihood& likelihood, const at::Tensor& output, bool mean, TargetDraws& draws,
                            std::int64_t batch_index) {
  const at::Tensor values = output.detach();
  const at::Tensor uniform = draws.of_batch(batch_index, likelihood.draw_shape(values)).to(values.device());
  const auto terms = static_cast<double>(mean ? likelihood.terms(values) : 1);
  return {uniform.size(1), 1 / (terms * static_cast<double>(uniform.size(1))),
          [likelihood, values, uniform](std::int64_t index) {
            return likelihood.drawn_scores(values, uniform.select(1, index));
          }};
}

OutputVectors score_vectors(const char* place, const LossFunction& loss_function, const at::Tensor& output,
                            const Batch& batch, bool mean) {
  const at::Tensor scores = sample_scores(place, loss_function, output, batch, mean).values;
  return {1, mean ? 1 / static_cast<double>(batch.size()) : 1, [scores](std::int64_t /*index*/) { return scores; }};
}

}  // namespace gradwise
