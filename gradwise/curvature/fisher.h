#pragma once

#include <cstdint>
#include <string>

#include "gradwise/curvature/data_operator.h"

namespace gradwise {

struct FisherOptions {
  std::string type = "exact";  ///< exact: the expectation in closed form; monte_carlo: by targets that are drawn
  std::int64_t draws = 1;      ///< of each sample's target, for monte_carlo
  std::int64_t seed = 0;       ///< likewise; the global generators are not touched
};

template <class Fields>
void describe(Fields& fields, FisherOptions& o) {
  fields.add("type", o.type, "expectation in closed form, or by targets that are drawn",
             one_of({"exact", "monte_carlo"}));
  fields.add("draws", o.draws, "of each sample's target, for monte_carlo", at_least(1));
  fields.add("seed", o.seed, "of the draws, for monte_carlo", anything());
}

/// The Fisher matrix of a model whose loss, by name (as make_loss knows them), is the logarithm of a likelihood: the
/// expectation of the outer products of gradients over targets that the model itself gives out. The targets of the
/// data are not looked at. Positive semi-definite.
///
///   const Fisher matrix(model, "cross_entropy", read_batches(loader));
///
/// Convention: p(y | f) ∝ exp(-loss(f, y)) for each of the loss's terms, as Likelihood says, and the mean over all
/// terms; so it is the Gauss-Newton matrix of that loss (Martens, "New Insights and Perspectives on the Natural
/// Gradient Method", 2020, section 9.2). For mse that is a variance of 1/2; with variance 1 the matrix is half of this.
///
/// monte_carlo gives the mean over samples and draws of g gᵀ, g the gradient of a sample's terms at targets drawn,
/// scaled so that its expectation is the exact matrix. Draws are made sample by sample, once: they do not depend on how
/// the data set is cut.
///
/// Data sets, what stays as it was, and the errors: as DataOperator says; another loss, an output whose dimension 0 is
/// not the samples, or one without a dimension of classes for cross_entropy.
class Fisher : public DataOperator {
 public:
  Fisher(const Model& model, const std::string& loss, std::vector<Batch> batches, FisherOptions fisher = {},
         CurvatureOptions options = {});
};

}  // namespace gradwise
