#include "gradwise/data/text_windows.h"

#include <algorithm>

#include "gradwise/core/error.h"
#include "gradwise/data/new_tensor.h"

namespace gradwise {
namespace {

constexpr const char* kTextWindowsPlace = "text";

bool is_token_type(at::ScalarType type) {
  return type == at::kByte || type == at::kShort || type == at::kInt || type == at::kLong;
}

}  // namespace

TextWindowStore::TextWindowStore(const at::Tensor& tokens, const WindowOptions& options) : options_(options) {
  check_fields(kTextWindowsPlace, options_);
  GRADWISE_CHECK(tokens.defined() && tokens.dim() == 1 && tokens.is_cpu() && is_token_type(tokens.scalar_type()),
                 kTextWindowsPlace, "the tokens are not one dimension of Byte, Short, Int or Long on the CPU");
  tokens_ = tokens.contiguous();
  if (options_.stride == 0) {
    options_.stride = options_.block_size;
  }
  const std::int64_t last_start = tokens_.numel() - 1 - options_.block_size;
  GRADWISE_CHECK(last_start >= 0, kTextWindowsPlace, "a text of ", tokens_.numel(),
                 " tokens has no window of block_size ", options_.block_size, ", allowed: at most ",
                 tokens_.numel() - 1);
  windows_ = last_start / options_.stride + 1;
}

template <class Stored>
void TextWindowStore::copy_windows(std::span<const Sample> samples, std::int64_t* input, std::int64_t* target) const {
  const Stored* tokens = static_cast<const Stored*>(tokens_.const_data_ptr());
  for (const Sample& sample : samples) {
    const Stored* window = tokens + sample.index * options_.stride;
    input = std::copy(window, window + options_.block_size, input);
    target = std::copy(window + 1, window + 1 + options_.block_size, target);
  }
}

void TextWindowStore::gather(std::span<const Sample> samples, Batch& batch) const {
  const std::int64_t rows = static_cast<std::int64_t>(samples.size());
  batch.extra.clear();
  ensure_tensor(batch.input, {rows, options_.block_size}, at::kLong);
  ensure_tensor(batch.target, {rows, options_.block_size}, at::kLong);
  std::int64_t* input = batch.input.mutable_data_ptr<std::int64_t>();
  std::int64_t* target = batch.target.mutable_data_ptr<std::int64_t>();
  switch (tokens_.scalar_type()) {
    case at::kByte:
      return copy_windows<std::uint8_t>(samples, input, target);
    case at::kShort:
      return copy_windows<std::int16_t>(samples, input, target);
    case at::kInt:
      return copy_windows<std::int32_t>(samples, input, target);
    default:
      return copy_windows<std::int64_t>(samples, input, target);
  }
}

}  // namespace gradwise
