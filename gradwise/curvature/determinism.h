#pragma once

#include <string>

#include "gradwise/core/model.h"
#include "gradwise/curvature/data_operator.h"

/// What a matrix over a data set takes for granted, looked at on one mini-batch. `place` is the operator's, for errors.
namespace gradwise {

/// Error: outputs of two passes over the same data that differ by more than rounding does.
void check_same_output(const char* place, const at::Tensor& first, const at::Tensor& second);

/// Error: losses or products with a vector, recorded twice of the same data, that differ by more than rounding does.
void check_same_curvature(const char* place, const BatchCurvature& first, const BatchCurvature& second,
                          const LinearOperator& like);

/// Error: losses of two passes over the same data that differ by more than rounding does.
void check_same_loss(const char* place, const at::Tensor& first, const at::Tensor& second);

/// `output` is the model's of the mini-batch, with its graph. Where that holds a batch norm in training mode, the model
/// is run on half of the mini-batch too, if it has three samples or more. Error: outputs of samples then differ from
/// those in the whole.
void check_samples_apart(const char* place, const Model& model, const Batch& batch, const at::Tensor& output);

/// Whether the loss is the mean or the sum over samples that `reduction` says: compares the loss over the mini-batch
/// with those over its two halves, then those of the first half, down to four samples, where a loss that is something
/// else differs most. Halves are cut from `output`; where it has no rows for the samples the model is run on the two
/// halves. Error: they differ by more than rounding does.
void check_over_samples(const char* place, const LossFunction& loss_function, const Model& model, const Batch& batch,
                        const at::Tensor& output, const std::string& reduction);

}  // namespace gradwise
