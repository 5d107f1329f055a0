#include "gradwise/curvature/kronecker_factors.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>

#include <cmath>
#include <memory>
#include <utility>

#include "gradwise/core/error.h"
#include "gradwise/curvature/kronecker_passes.h"

namespace gradwise {
namespace {

constexpr const char* kFactorsPlace = "kronecker_factors";

KroneckerPasses::VectorsOfBatch vectors_of_likelihood(const std::string& loss, const FisherOptions& fisher, bool mean) {
  check_fields(kFactorsPlace, fisher);
  const Likelihood likelihood = Likelihood::of_loss(loss);
  const auto draws = fisher.type == "exact" ? nullptr : std::make_shared<TargetDraws>(fisher.draws, fisher.seed);
  return [likelihood, draws, mean](const at::Tensor& output, const Batch& batch, std::int64_t index) {
    likelihood.check_output(kFactorsPlace, output, batch.size());
    return draws ? drawn_vectors(likelihood, output, mean, *draws, index) : root_vectors(likelihood, output, mean);
  };
}

KroneckerPasses::VectorsOfBatch vectors_of_loss(const LossFunction& loss_function, bool mean) {
  return [loss_function, mean](const at::Tensor& output, const Batch& batch, std::int64_t /*index*/) {
    return score_vectors(kFactorsPlace, loss_function, output, batch, mean);
  };
}

void check_kronecker_damping(double damping) {
  GRADWISE_CHECK(std::isfinite(damping) && damping >= 0, kFactorsPlace, "damping is ", damping, ", allowed: >= 0");
}

// π of each group (groups, 1).
at::Tensor balance_of(const KroneckerBlock& block) {
  const at::Tensor of_inputs = block.input_values.mean(1, /*keepdim=*/true);
  const at::Tensor of_gradients = block.gradient_values.mean(1, /*keepdim=*/true);
  const at::Tensor both = of_inputs.gt(0).logical_and(of_gradients.gt(0));
  return at::where(both, of_inputs.div(of_gradients).sqrt(), at::ones_like(of_inputs));
}

}  // namespace

KroneckerFactors::KroneckerFactors(const Model& model, const std::string& loss, std::vector<Batch> batches,
                                   FisherOptions fisher, const KroneckerOptions& options)
    : KroneckerFactors(KroneckerPasses(model, std::move(batches), options,
                                       vectors_of_likelihood(loss, fisher, options.reduction == "mean"))) {}

KroneckerFactors::KroneckerFactors(const Model& model, const LossFunction& loss_function, std::vector<Batch> batches,
                                   const KroneckerOptions& options)
    : KroneckerFactors(KroneckerPasses(model, std::move(batches), options,
                                       vectors_of_loss(loss_function, options.reduction == "mean"))) {}

KroneckerFactors::KroneckerFactors(KroneckerPasses passes)
    : KroneckerOperator(kFactorsPlace, passes.blocks(), passes.parameters().numel(),
                        passes.parameters().tensors.front().options().requires_grad(false)),
      parameters_(passes.parameters()),
      left_out_(passes.left_out()),
      samples_(passes.samples()),
      corrected_(passes.options().corrected) {}

at::Tensor KroneckerFactors::times(std::size_t block, const at::Tensor& matrices) const {
  const KroneckerBlock& of = blocks()[block];
  return corrected_ ? times_in_eigenbasis(of, of.eigenvalues, matrices)
                    : of.gradient_factor.matmul(matrices).matmul(of.input_factor);
}

KroneckerInverse KroneckerFactors::inverse(double damping) const {
  check_kronecker_damping(damping);
  std::vector<at::Tensor> damped;
  for (const KroneckerBlock& block : blocks()) {
    damped.push_back(block.eigenvalues.add(damping));
  }
  return {blocks(), std::move(damped), size(), options()};
}

KroneckerInverse KroneckerFactors::factored_inverse(double damping) const {
  check_kronecker_damping(damping);
  GRADWISE_CHECK(!corrected_, kFactorsPlace, "corrected eigenvalues are no products of the factors' any more, ",
                 "allowed: inverse(damping)");
  const double root = std::sqrt(damping);
  std::vector<at::Tensor> damped;
  for (const KroneckerBlock& block : blocks()) {
    const at::Tensor pi = balance_of(block);
    const at::Tensor of_inputs = block.input_values.add(pi, root);
    const at::Tensor of_gradients = block.gradient_values.add(pi.reciprocal(), root);
    damped.push_back(of_gradients.unsqueeze(2).mul(of_inputs.unsqueeze(1)));
  }
  return {blocks(), std::move(damped), size(), options()};
}

at::Tensor KroneckerFactors::eigenvalues() const {
  std::vector<at::Tensor> all;
  for (const KroneckerBlock& block : blocks()) {
    all.push_back(block.eigenvalues.flatten());
  }
  return std::get<0>(at::cat(all).sort(/*dim=*/0, /*descending=*/true));
}

double KroneckerFactors::trace() const { return eigenvalues().sum().item<double>(); }

double KroneckerFactors::frobenius_norm() const { return eigenvalues().norm().item<double>(); }

double KroneckerFactors::log_determinant(double damping) const {
  check_kronecker_damping(damping);
  return eigenvalues().add(damping).log().sum().item<double>();
}

}  // namespace gradwise
