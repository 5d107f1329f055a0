#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>

namespace gradwise {

/// What a safetensors file holds: tensors by name, and free words about them.
struct SafeTensors {
  std::map<std::string, at::Tensor> tensors;
  std::map<std::string, std::string> metadata;
};

/// Reads a safetensors file (https://github.com/huggingface/safetensors) into CPU tensors of their own. The whole
/// header is checked as the reference does before a tensor is made: a length beyond 100 MB or beyond the file, bytes
/// that are no JSON object, a name twice, an unknown dtype, offsets outside the data, holes, overlaps, sizes that
/// disagree with shape and dtype. Errors name file, tensor and fact.
[[nodiscard]] SafeTensors read_safetensors(const std::filesystem::path& path);

/// Writes a safetensors file, whole or not at all, with the same bytes that the reference writes for the same
/// tensors. Tensors that are on another device or not contiguous are copied one at a time, others are written from
/// where they lie. Errors: a tensor that is undefined, sparse or quantised, a name that is not UTF-8 or
/// "__metadata__", a disk that is full.
void write_safetensors(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace gradwise
