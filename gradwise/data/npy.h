#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>

namespace gradwise {

class ByteReader;

/// Reads a NumPy array file (NEP 1; versions 1, 2 and 3), plain or gzip: f2 f4 f8 i1 i2 i4 i8 u1 b1, either byte order,
/// C or Fortran order (the result is contiguous in C order). Errors name the file and the fact: wrong magic, a header
/// that is not a NumPy one, another dtype (objects are never unpickled), a length that disagrees with the shape.
[[nodiscard]] at::Tensor read_npy(const std::filesystem::path& path);
[[nodiscard]] at::Tensor read_npy(ByteReader& reader);

}  // namespace gradwise
