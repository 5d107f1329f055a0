#pragma once

#include <cstdint>

#include "gradwise/autograd/functions/tensor_function.h"

/// The layers that `torch.func` stacks up while it runs a function, for code in C++: LibTorch has them without an
/// interface. A tensor that is wrapped for a layer is one of that layer alone; whatever was computed before is a
/// constant to it.
namespace gradwise {

/// What a random operator does under vmap.
enum class Randomness {
  error,     ///< throws
  same,      ///< draws once for all
  different  ///< draws for each
};

/// Whether a layer is open in this thread. Functions with a backward of their own can't be used there (LibTorch gives
/// them none of the layers' rules) and run as the operators that they are composed of.
[[nodiscard]] bool inside_transform();

/// Records for reverse mode. Wrapped tensors and what was computed from them can be differentiated after its end.
class GradLayer {
 public:
  GradLayer();
  ~GradLayer();
  GradLayer(const GradLayer&) = delete;
  GradLayer& operator=(const GradLayer&) = delete;

  /// The tensor in the layer; `differentiable` asks for its gradient.
  [[nodiscard]] at::Tensor wrap(const at::Tensor& tensor, bool differentiable) const;
  /// The tensor outside of it.
  [[nodiscard]] at::Tensor unwrap(const at::Tensor& tensor) const;

 private:
  std::int64_t level_;
};

/// Carries tangents along in forward mode. Error of LibTorch: a level of dual numbers that was opened without a layer.
class JvpLayer {
 public:
  JvpLayer();
  ~JvpLayer();
  JvpLayer(const JvpLayer&) = delete;
  JvpLayer& operator=(const JvpLayer&) = delete;

  [[nodiscard]] at::Tensor dual(const at::Tensor& primal, const at::Tensor& tangent) const;
  [[nodiscard]] at::Tensor primal(const at::Tensor& dual) const;
  /// Zeros where the tensor carries none.
  [[nodiscard]] at::Tensor tangent(const at::Tensor& dual) const;

 private:
  // A share in LibTorch's level of dual numbers.
  struct DualLevel {
    DualLevel();
    ~DualLevel();
    DualLevel(const DualLevel&) = delete;
    DualLevel& operator=(const DualLevel&) = delete;
  };

  [[nodiscard]] at::Tensor unwrap(const at::Tensor& tensor) const;
  DualLevel dual_level_;  // before the layer, which is not there where this throws
  std::int64_t level_;
};

/// Hides one dimension of its tensors from the operators.
class VmapLayer {
 public:
  VmapLayer(std::int64_t batch_size, Randomness randomness);
  ~VmapLayer();
  VmapLayer(const VmapLayer&) = delete;
  VmapLayer& operator=(const VmapLayer&) = delete;

  [[nodiscard]] at::Tensor hide(const at::Tensor& tensor, std::int64_t dimension) const;
  /// With the hidden dimension at `dimension`; a tensor that does not depend on the batch is repeated.
  [[nodiscard]] at::Tensor show(const at::Tensor& tensor, std::int64_t dimension) const;

 private:
  std::int64_t level_;
  std::int64_t batch_size_;
};

}  // namespace gradwise
