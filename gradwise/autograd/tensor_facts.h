#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace gradwise {

/// What a message can say of a tensor.
struct TensorFacts {
  std::vector<std::int64_t> shape = {};
  std::string dtype = {};  ///< as "float32"
  std::int64_t nans = 0;
  std::int64_t infs = 0;
  double min = 0;  ///< of the finite elements; 0 where there is none
  double max = 0;

  [[nodiscard]] bool finite() const { return nans == 0 && infs == 0; }
};

/// Reads a tensor of any type; of an integer one no range.
[[nodiscard]] TensorFacts facts_of(const at::Tensor& tensor);

/// "float32 64x10, -3.2 to 7.1, 2 NaN".
[[nodiscard]] std::string text_of(const TensorFacts& facts);

}  // namespace gradwise
