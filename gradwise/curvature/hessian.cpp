#include "gradwise/curvature/hessian.h"

#include <ATen/ops/zeros_like.h>

#include <utility>

#include "gradwise/autograd/functions/gradients.h"
#include "gradwise/curvature/layer_trace_draws.h"

namespace gradwise {
namespace {

BatchCurvature hessian_of_batch(const LossFunction& loss_function, const RecordedModel& model, const Batch& batch) {
  const at::Tensor loss =
      checked_loss("hessian", loss_function, model.output, batch.target, "any parameter that asks for a gradient");
  const at::Tensor gradient = flattened(kept_gradients("hessian", loss, model.parameters, {}, /*create_graph=*/true));
  return {
      loss.detach(), gradient.detach(),
      [parameters = model.parameters, gradient](const at::Tensor& vector) {
        if (!gradient.requires_grad()) {
          return at::zeros_like(vector);  // the loss is linear in the parameters
        }
        return flattened(kept_gradients("hessian", gradient, parameters, vector, /*create_graph=*/false));
      },
      [loss, samples = batch.size()](const NamedParameters& parameters, std::int64_t count, at::Generator& generator) {
        return layer_trace_draws(loss, parameters, samples, count, generator);
      }};
}

}  // namespace

Hessian::Hessian(const Model& model, const LossFunction& loss_function, const at::Tensor& input_data,
                 const at::Tensor& target_data)
    : Hessian(model, loss_function, std::vector<Batch>{{input_data, target_data, {}}}) {}

Hessian::Hessian(const Model& model, const LossFunction& loss_function, std::vector<Batch> batches,
                 CurvatureOptions options)
    : DataOperator("hessian", model, std::move(batches), std::move(options),
                   [loss_function](const RecordedModel& recorded, const Batch& batch, std::int64_t /*index*/) {
                     return hessian_of_batch(loss_function, recorded, batch);
                   },
                   {loss_function}) {}

}  // namespace gradwise
