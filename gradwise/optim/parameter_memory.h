#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace gradwise {

/// An error where an element would be updated twice: parameters on the CPU that overlap in memory, or one whose
/// elements share theirs (an expanded tensor). Exact for views of any strides: those that interleave are allowed. Where
/// it would take too long to tell, of a kind of view that slicing does not make, they are taken to overlap. Parameters
/// are named by their place in the list; undefined ones are passed over.
void refuse_shared_memory(const std::vector<at::Tensor>& parameters);

/// An error where the gradient has another shape, type or device than parameter `index`.
void check_gradient(const at::Tensor& parameter, const at::Tensor& gradient, std::size_t index);

}  // namespace gradwise
