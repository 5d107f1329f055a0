#pragma once

#include <filesystem>

#include "gradwise/data/dataset.h"

namespace gradwise {

/// Reads an IDX file (the format of MNIST, http://yann.lecun.com/exdb/mnist), plain or gzip, with its shape and type:
/// uint8, int8, int16, int32, float32 or float64. Errors: a missing file, bytes at the start that are not IDX, a
/// length that disagrees with the header, gzip data that is cut off or damaged.
///
///   const at::Tensor images = read_idx("train-images-idx3-ubyte.gz");   // uint8 (60000, 28, 28)
[[nodiscard]] at::Tensor read_idx(const std::filesystem::path& path);

/// Images (N, 1, H, W) and labels (N) from two IDX files; an error where their counts disagree, labels have more than
/// one dimension or images only one, as when the files are mixed up.
[[nodiscard]] Dataset read_idx_dataset(const std::filesystem::path& images, const std::filesystem::path& labels);

}  // namespace gradwise
