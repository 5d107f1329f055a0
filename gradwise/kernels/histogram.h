#pragma once

#include <cstddef>

#include "gradwise/core/element.h"
#include "gradwise/core/reading.h"

namespace gradwise::kernels {

/// Zeros and non-finite elements are in no bin.
using Histogram = MagnitudeHistogram;

/// Exponent of the lower bound of the first of a half's bins.
inline constexpr int kHistogramLowest = -26;

/// Adds the elements to a histogram, exactly. Thread-safe for histograms of their own.
void add_to_histogram(const void* data, std::size_t count, Element type, Histogram& histogram);

/// Its reference.
void add_to_histogram_portable(const void* data, std::size_t count, Element type, Histogram& histogram);

}  // namespace gradwise::kernels
