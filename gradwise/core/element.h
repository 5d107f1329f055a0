#pragma once

namespace gradwise {

/// Element types that the kernels read and write.
enum class Element { float32, float64, float16, bfloat16 };

}  // namespace gradwise
