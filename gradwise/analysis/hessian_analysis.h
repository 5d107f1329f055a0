#pragma once

#include "gradwise/analysis/gradient_analysis.h"
#include "gradwise/analysis/step_rule.h"
#include "gradwise/core/model.h"

namespace gradwise {

/// Fills `curvature_along_gradient` and `hessian` on one batch. Products with the whole Hessian: 1 + hessian_steps x
/// density_vectors + trace_vectors, and hessian_steps more for a rule that scales parameters. A layer's eigenvalue and
/// trace come from an operator of its parameters alone, whose products go through the network above it: one with each
/// of four layers costs about as much as one with the whole, with each of thirteen 2.4 times that. Errors: those of
/// Hessian; a rule with another number of scales than trainable parameters, or scales of another shape.
void measure_hessian(const Model& model, const LossFunction& loss_function, const Batch& batch,
                     const GradientAnalysisConfig& config, const StepRule& rule, GradientAnalysis& result);

}  // namespace gradwise
