#pragma once

#include <filesystem>

#include "gradwise/core/model.h"

namespace gradwise {

/// A Model of a TorchScript file (`torch.jit.save` in Python), trainable from C++. `forward` is called with the
/// batch's input (and `extra` tensors) and must give one tensor. Throws an Error with the path where the file can't
/// be read. Graph optimisation is left off for the process: otherwise the autograd graph hides in one node.
[[nodiscard]] Model load_script_model(const std::filesystem::path& path);

}  // namespace gradwise
