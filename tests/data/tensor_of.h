#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "gradwise/data/new_tensor.h"

namespace gradwise {

/// A tensor with these values, in C order.
template <class T>
at::Tensor tensor_of(const std::vector<T>& values, at::IntArrayRef shape) {
  at::Tensor tensor = new_tensor(shape, c10::CppTypeToScalarType<T>::value);
  std::copy(values.begin(), values.end(), tensor.mutable_data_ptr<T>());
  return tensor;
}

/// Elements start, start + 1, ..., modulo 251 (a prime, so that rows differ).
template <class T>
at::Tensor counted(at::IntArrayRef shape, std::int64_t start = 0) {
  at::Tensor tensor = new_tensor(shape, c10::CppTypeToScalarType<T>::value);
  T* values = tensor.mutable_data_ptr<T>();
  for (std::int64_t i = 0; i < tensor.numel(); ++i) {
    values[i] = static_cast<T>((start + i) % 251);
  }
  return tensor;
}

template <class T>
std::vector<T> values_of(const at::Tensor& tensor) {
  const at::Tensor plain = tensor.contiguous();
  const T* values = plain.const_data_ptr<T>();
  return {values, values + plain.numel()};
}

}  // namespace gradwise
