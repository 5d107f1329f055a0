#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>

namespace gradwise {

/// Reads all arrays of a NumPy archive, as `numpy.savez` and `numpy.savez_compressed` write it, by name. Errors: not a
/// zip archive, a member that is no array (see `read_npy`), damaged data (its checksum is checked), a name twice.
///
///   const auto arrays = read_npz("mnist.npz");
///   const Dataset train = make_dataset(arrays.at("x_train"), arrays.at("y_train"));
[[nodiscard]] std::map<std::string, at::Tensor> read_npz(const std::filesystem::path& path);

}  // namespace gradwise
