#include "gradwise/curvature/fisher.h"

#include <ATen/ops/stack.h>

#include <memory>
#include <utility>

#include "gradwise/curvature/likelihood.h"
#include "gradwise/curvature/sample_scores.h"
#include "gradwise/curvature/target_draws.h"

namespace gradwise {
namespace {

constexpr const char* kPlace = "fisher";

BatchCurvature exact_fisher(const Likelihood& likelihood, bool mean, const RecordedModel& model) {
  const OutputJacobian J(kPlace, model);
  const at::Tensor output = model.output.detach();
  const double weight = mean ? 1 / static_cast<double>(likelihood.terms(output)) : 1;
  return {{}, {}, [J, likelihood, output, weight](const at::Tensor& vector) {
            return J.transposed_times(likelihood.fisher_times(output, J.times(vector)).mul(weight));
          }};
}

BatchCurvature drawn_fisher(const Likelihood& likelihood, bool mean, TargetDraws& draws, const RecordedModel& model,
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
        const auto draws = fisher.type == "exact" ? nullptr : std::make_shared<TargetDraws>(fisher.draws, fisher.seed);
        return [likelihood, draws, mean = options.reduction == "mean"](const RecordedModel& recorded,
                                                                       const Batch& batch, std::int64_t index) {
          likelihood.check_output(kPlace, recorded.output, batch.size());
          return draws ? drawn_fisher(likelihood, mean, *draws, recorded, index)
                       : exact_fisher(likelihood, mean, recorded);
        };
      }()) {}

}  // namespace gradwise
