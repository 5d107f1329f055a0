#include "gradwise/curvature/sample_scores.h"

#include "gradwise/core/error.h"

namespace gradwise {

SampleScores sample_scores(const char* place, const LossFunction& loss_function, const at::Tensor& output,
                           const Batch& batch, bool mean) {
  GRADWISE_CHECK(output.dim() > 0 && output.size(0) == batch.size(), place, "the model's output has the shape ",
                 output.sizes(), ", allowed: the ", batch.size(), " samples of the mini-batch along dimension 0");
  const at::Tensor leaf = output.detach().requires_grad_();
  const at::Tensor loss = checked_loss(place, loss_function, leaf, batch.target, "the model's output");
  const at::Tensor gradient = kept_gradients(place, loss, {leaf}, {}, /*create_graph=*/false).front();
  return {loss.detach(), mean ? gradient.mul(static_cast<double>(batch.size())) : gradient};
}

at::Tensor outer_products_times(const OutputJacobian& J, const at::Tensor& scores, double weight,
                                const at::Tensor& vector) {
  const at::Tensor J_v = J.times(vector);
  const std::int64_t n = J_v.size(0);
  const at::Tensor s = scores.reshape({-1, n, J_v.numel() / n});                  // (m, n, outputs)
  const at::Tensor s_J_v = s.mul(J_v.reshape({n, -1})).sum(2, /*keepdim=*/true);  // (m, n, 1)
  return J.transposed_times(s.mul(s_J_v).sum(0).mul(weight).reshape(J_v.sizes()));
}

}  // namespace gradwise
