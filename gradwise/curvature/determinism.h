#pragma once

#include "gradwise/core/model.h"
#include "gradwise/curvature/data_operator.h"

/// What a matrix over a data set takes for granted, looked at on one mini-batch. `place` is the operator's, for errors.
namespace gradwise {

/// Error: outputs of two passes over the same data that differ by more than rounding does.
void check_same_output(const char* place, const at::Tensor& first, const at::Tensor& second);

/// Error: losses or products with a vector, recorded twice of the same data, that differ by more than rounding does.
void check_same_curvature(const char* place, const BatchCurvature& first, const BatchCurvature& second,
                          const LinearOperator& like);

/// Runs the model, and where there is a batch norm in training mode, on half of the mini-batch too, if it has three
/// samples or more. Error: outputs of samples then differ from those in the whole.
void check_samples_apart(const char* place, const Model& model, const Batch& batch);

}  // namespace gradwise
