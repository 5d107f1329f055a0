#include "gradwise/curvature/fisher.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/stack.h>

#include <memory>
#include <utility>

#include "gradwise/core/error.h"
#include "gradwise/curvature/likelihood.h"
#include "gradwise/curvature/sample_scores.h"

namespace gradwise {
namespace {

constexpr const char* kPlace = "fisher";

// The uniform numbers of each mini-batch, one sample after the other, kept for later visits.
class Draws {
 public:
  explicit Draws(const FisherOptions& options)
      : draws_(options.draws), generator_(at::detail::createCPUGenerator(static_cast<std::uint64_t>(options.seed))) {}

  // (n, draws, rest of the shape), on the CPU.
  const at::Tensor& of_batch(std::int64_t index, at::IntArrayRef shape) {
    if (index == std::ssize(batches_)) {
      at::DimVector all(shape);
      all.insert(all.begin() + 1, draws_);
      batches_.push_back(at::rand(all, generator_, at::kDouble));
    }
    return batches_.at(static_cast<std::size_t>(index));
  }

 private:
  std::int64_t draws_;
  at::Generator generator_;
  std::vector<at::Tensor> batches_;
};

void check_output(const at::Tensor& output, const Batch& batch, const Likelihood& likelihood) {
  GRADWISE_CHECK(output.dim() > 0 && output.size(0) == batch.size(), kPlace, "the model's output has the shape ",
                 output.sizes(), ", allowed: the ", batch.size(), " samples of the mini-batch along dimension 0");
  GRADWISE_CHECK(likelihood.kind != Likelihood::Kind::categorical || output.dim() > 1, kPlace,
                 "the model's output has the shape ", output.sizes(),
                 ", allowed for cross_entropy: [samples, classes, ", "...]");
}

BatchCurvature exact_fisher(const Likelihood& likelihood, bool mean, const RecordedModel& model) {
  const OutputJacobian J(kPlace, model);
  const at::Tensor output = model.output.detach();
  const double weight = mean ? 1 / static_cast<double>(likelihood.terms(output)) : 1;
  return {{}, {}, [J, likelihood, output, weight](const at::Tensor& vector) {
            return J.transposed_times(likelihood.fisher_times(output, J.times(vector)).mul(weight));
          }};
}

BatchCurvature drawn_fisher(const Likelihood& likelihood, bool mean, Draws& draws, const RecordedModel& model,
                            std::int64_t index) {
  const OutputJacobian J(kPlace, model);
  const at::Tensor output = model.output.detach();
  const at::Tensor uniform = draws.of_batch(index, likelihood.draw_shape(output)).to(output.device());
  std::vector<at::Tensor> scores;
  for (const at::Tensor& draw : uniform.unbind(1)) {
    scores.push_back(likelihood.drawn_scores(output, draw));
  }
  const auto terms = static_cast<double>(mean ? likelihood.terms(output) : 1);
  const double weight = 1 / (terms * static_cast<double>(scores.size()));
  return {{}, {}, [J, drawn = at::stack(scores), weight](const at::Tensor& vector) {
            return outer_products_times(J, drawn, weight, vector);
          }};
}

}  // namespace

Fisher::Fisher(const Model& model, const std::string& loss, std::vector<Batch> batches, FisherOptions fisher,
               CurvatureOptions options)
    : DataOperator(kPlace, model, std::move(batches), options, [&]() -> Record {
        check_fields(kPlace, fisher);
        const Likelihood likelihood = Likelihood::of_loss(loss);
        const auto draws = fisher.type == "exact" ? nullptr : std::make_shared<Draws>(fisher);
        return [likelihood, draws, mean = options.reduction == "mean"](const RecordedModel& recorded,
                                                                       const Batch& batch, std::int64_t index) {
          check_output(recorded.output, batch, likelihood);
          return draws ? drawn_fisher(likelihood, mean, *draws, recorded, index)
                       : exact_fisher(likelihood, mean, recorded);
        };
      }()) {}

}  // namespace gradwise
