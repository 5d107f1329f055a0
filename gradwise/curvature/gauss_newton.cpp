#include "gradwise/curvature/gauss_newton.h"

#include <ATen/ops/zeros_like.h>

#include <utility>

#include "gradwise/curvature/output_jacobian.h"

namespace gradwise {
namespace {

BatchCurvature gauss_newton_of_batch(const LossFunction& loss_function, const RecordedModel& model,
                                     const Batch& batch) {
  const OutputJacobian J("gauss_newton", model);
  const at::Tensor output = model.output.detach().requires_grad_();
  const at::Tensor loss = checked_loss("gauss_newton", loss_function, output, batch.target, "the model's output");
  const at::Tensor loss_gradient = kept_gradients("gauss_newton", loss, {output}, {}, /*create_graph=*/true).front();
  return {loss.detach(), {}, [J, output, loss_gradient](const at::Tensor& vector) {
            if (!loss_gradient.requires_grad()) {
              return at::zeros_like(vector);  // the loss is linear in the output
            }
            const at::Tensor J_v = J.times(vector);
            const at::Tensor H_J_v =
                kept_gradients("gauss_newton", loss_gradient, {output}, J_v, /*create_graph=*/false).front();
            return J.transposed_times(H_J_v);
          }};
}

}  // namespace

GaussNewton::GaussNewton(const Model& model, const LossFunction& loss_function, const at::Tensor& input_data,
                         const at::Tensor& target_data)
    : GaussNewton(model, loss_function, std::vector<Batch>{{input_data, target_data, {}}}) {}

GaussNewton::GaussNewton(const Model& model, const LossFunction& loss_function, std::vector<Batch> batches,
                         CurvatureOptions options)
    : DataOperator("gauss_newton", model, std::move(batches), std::move(options),
                   [loss_function](const RecordedModel& recorded, const Batch& batch, std::int64_t /*index*/) {
                     return gauss_newton_of_batch(loss_function, recorded, batch);
                   },
                   {loss_function}) {}

}  // namespace gradwise
