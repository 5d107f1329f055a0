#pragma once

#include "gradwise/core/reading.h"
#include "gradwise/kernels/moments.h"
#include "gradwise/kernels/weight_moments.h"

namespace gradwise {

/// Puts what a pass over a gradient gave, times `scale`, as the step's figures.
void put_gradient(const kernels::Moments& moments, double scale, ParameterReading& reading);
/// Says that no gradient came; the figures of the weights stay.
void clear_gradient(ParameterReading& reading);
void put_weights(const kernels::WeightMoments& moments, ParameterReading& reading);

}  // namespace gradwise
