#pragma once

#include "gradwise/curvature/data_operator.h"

namespace gradwise {

/// The empirical Fisher matrix, the uncentred second moment of per-sample gradients: (1/N) Σ g_n g_nᵀ, with g_n the
/// gradient of a sample's loss at its own target (Kunstner, Balles and Hennig, "Limitations of the Empirical Fisher
/// Approximation", 2019, equation 3); Σ g_n g_nᵀ for a loss that is a sum. Positive semi-definite.
///
///   const EmpiricalFisher matrix(model, make_loss("cross_entropy"), read_batches(loader));
///
/// Per-sample gradients are never made: a product is two backward passes. The loss is to be a mean or a sum, as
/// `reduction` says, over samples of what each one's output and target give; outputs have samples along dimension 0.
/// Data sets, what stays as it was, and the errors: as DataOperator says; an output whose dimension 0 is not the
/// samples.
class EmpiricalFisher : public DataOperator {
 public:
  EmpiricalFisher(const Model& model, const LossFunction& loss_function, std::vector<Batch> batches,
                  CurvatureOptions options = {});

 protected:
  EmpiricalFisher(const char* place, const Model& model, const LossFunction& loss_function, std::vector<Batch> batches,
                  CurvatureOptions options);
};

}  // namespace gradwise
