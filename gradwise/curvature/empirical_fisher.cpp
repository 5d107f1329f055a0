#include "gradwise/curvature/empirical_fisher.h"

#include <utility>

#include "gradwise/curvature/sample_scores.h"

namespace gradwise {
namespace {

BatchCurvature fisher_of_batch(const char* place, const LossFunction& loss_function, bool mean,
                               const RecordedModel& model, const Batch& batch) {
  const OutputJacobian J(place, model);
  const SampleScores scores = sample_scores(place, loss_function, model.output, batch, mean);
  const double weight = mean ? 1 / static_cast<double>(batch.size()) : 1;
  return {scores.loss, J.transposed_times(scores.values.mul(weight)),
          [J, values = scores.values, weight](const at::Tensor& vector) {
            return outer_products_times(J, values, weight, vector);
          }};
}

}  // namespace

EmpiricalFisher::EmpiricalFisher(const Model& model, const LossFunction& loss_function, std::vector<Batch> batches,
                                 CurvatureOptions options)
    : EmpiricalFisher("empirical_fisher", model, loss_function, std::move(batches), std::move(options)) {}

EmpiricalFisher::EmpiricalFisher(const char* place, const Model& model, const LossFunction& loss_function,
                                 std::vector<Batch> batches, CurvatureOptions options)
    : DataOperator(place, model, std::move(batches), options,
                   [place, loss_function, mean = options.reduction == "mean"](
                       const RecordedModel& recorded, const Batch& batch, std::int64_t /*index*/) {
                     return fisher_of_batch(place, loss_function, mean, recorded, batch);
                   },
                   {loss_function, /*always=*/true}) {}

}  // namespace gradwise
