#pragma once

#include "gradwise/autograd/memory/saved_tensor_hooks.h"

namespace gradwise::detail {

/// `pack`, which packs a tensor once however many operators save it (ReLU its result, the layer behind it the same
/// tensor as its input): while one of them holds what was packed, the others share it. The same tensor is one of the
/// same memory, place, sizes, strides and type that was not written to in between. In any thread.
[[nodiscard]] PackSaved packed_once(PackSaved pack);

}  // namespace gradwise::detail
