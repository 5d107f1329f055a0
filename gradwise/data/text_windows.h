#pragma once

#include <cstdint>

#include "gradwise/core/fields.h"
#include "gradwise/data/sample_store.h"

namespace gradwise {

struct WindowOptions {
  std::int64_t block_size = 128;
  std::int64_t stride = 0;
};

template <class Fields>
void describe(Fields& fields, WindowOptions& o) {
  fields.add("block_size", o.block_size, "tokens in a window", at_least(1));
  fields.add("stride", o.stride, "tokens from the start of a window to the start of the next; 0 for block_size",
             at_least(0));
}

/// Windows over a text for a language model. A batch of B windows has `input` (B, block_size) and `target`
/// (B, block_size), int64: each target is the token after its input. Only the tokens are held in memory, in their
/// stored type, whatever the stride; `stride` 1 gives every window there is.
///
///   DataLoader loader(std::make_shared<TextWindowStore>(text.tokens, WindowOptions{.block_size = 64, .stride = 8}),
///                     {.batch_size = 32});
///
/// Errors: tokens that are not one dimension of uint8, int16, int32 or int64 on the CPU; fewer than block_size + 1.
class TextWindowStore : public SampleStore {
 public:
  explicit TextWindowStore(const at::Tensor& tokens, const WindowOptions& options = {});

  [[nodiscard]] std::int64_t size() const override { return windows_; }
  void gather(std::span<const Sample> samples, Batch& batch) const override;

 private:
  template <class Stored>
  void copy_windows(std::span<const Sample> samples, std::int64_t* input, std::int64_t* target) const;

  at::Tensor tokens_;
  WindowOptions options_;
  std::int64_t windows_ = 0;
};

}  // namespace gradwise
