#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace gradwise::bench {

using Shapes = std::vector<std::vector<std::int64_t>>;

/// "gpt2" (GPT-2 small: 124 million parameters in 148 tensors), "cnn" (1.8 million in 150), "small" (1,000 tensors of
/// 1,000 elements), a number of elements in one tensor, or of tensors and elements: "20000x1000".
[[nodiscard]] Shapes shapes_of(const std::string& name);

}  // namespace gradwise::bench
