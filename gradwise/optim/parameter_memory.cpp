#include "gradwise/optim/parameter_memory.h"

#include <algorithm>

#include "gradwise/core/error.h"

namespace gradwise {
namespace {

// Two threads would write to one place, and each update would read what the other has done.
void refuse_overlaps(const std::vector<at::Tensor>& parameters) {
  struct Extent {
    const std::byte* begin;
    const std::byte* end;
    std::size_t index;
  };
  std::vector<Extent> extents;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor& parameter = parameters[i];
    if (!parameter.is_cpu() || parameter.numel() == 0 || !parameter.is_non_overlapping_and_dense()) {
      continue;
    }
    const auto* begin = static_cast<const std::byte*>(parameter.const_data_ptr());
    extents.push_back({begin, begin + parameter.nbytes(), i});
  }
  std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) { return a.begin < b.begin; });
  for (std::size_t i = 1; i < extents.size(); ++i) {
    GRADWISE_CHECK(extents[i].begin >= extents[i - 1].end, "optimizer", "parameters ", extents[i - 1].index, " and ",
                   extents[i].index, " share memory, allowed: parameters with memory of their own");
  }
}

void refuse_repeated_elements(const at::Tensor& parameter, std::size_t index) {
  for (std::int64_t d = 0; d < parameter.dim(); ++d) {
    GRADWISE_CHECK(parameter.size(d) <= 1 || parameter.stride(d) != 0, "optimizer", "parameter ", index, " of shape ",
                   parameter.sizes(), " repeats its elements along dimension ", d,
                   " (an expanded tensor), allowed: tensors whose elements have memory of their own");
  }
}

}  // namespace

void refuse_shared_memory(const std::vector<at::Tensor>& parameters) {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    refuse_repeated_elements(parameters[i], i);
  }
  refuse_overlaps(parameters);
}

void check_gradient(const at::Tensor& parameter, const at::Tensor& gradient, std::size_t index) {
  GRADWISE_CHECK(gradient.sizes() == parameter.sizes() && gradient.scalar_type() == parameter.scalar_type() &&
                     gradient.device() == parameter.device(),
                 "optimizer", "the gradient of parameter ", index, " is ", gradient.sizes(), " ",
                 gradient.scalar_type(), " on ", gradient.device(), ", the parameter ", parameter.sizes(), " ",
                 parameter.scalar_type(), " on ", parameter.device());
}

}  // namespace gradwise
