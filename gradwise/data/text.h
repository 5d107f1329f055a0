#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace gradwise {

/// A text as character tokens. `tokens` (N) holds positions in `vocabulary`, as uint8 where that has at most 256
/// characters, int16 up to 32,768, else int32. A character is a Unicode code point, as UTF-8.
struct Text {
  std::vector<std::string> vocabulary;
  at::Tensor tokens;
};

/// Tokenizes `text`; its vocabulary is its own characters in the order of their code points. `name` is for errors: no
/// text at all, bytes that are not UTF-8 (with their place).
[[nodiscard]] Text tokenize(std::string_view text, const std::string& name = "the text");
/// With a given vocabulary, as of the text that a model was trained on; a character that is not in it is an error.
[[nodiscard]] Text tokenize(std::string_view text, const std::vector<std::string>& vocabulary,
                            const std::string& name = "the text");

/// Tokenizes a file, plain or gzip.
[[nodiscard]] Text read_text(const std::filesystem::path& path);
[[nodiscard]] Text read_text(const std::filesystem::path& path, const std::vector<std::string>& vocabulary);

/// The characters of whole-number `tokens` (N).
[[nodiscard]] std::string decode(const at::Tensor& tokens, const std::vector<std::string>& vocabulary);

struct TextSplit {
  Text first;
  Text second;
};

/// Cuts a text in two with one vocabulary: `fraction` (above 0, below 1) of its tokens, then the rest. Shares memory.
[[nodiscard]] TextSplit split(const Text& text, double fraction);

}  // namespace gradwise
