#include "gradwise/data/text.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <unordered_map>

#include "gradwise/core/error.h"
#include "gradwise/data/byte_reader.h"
#include "gradwise/data/new_tensor.h"

namespace gradwise {
namespace {

constexpr const char* kTextPlace = "text";

/// The bytes of a UTF-8 character, first byte highest: sorts as the code points do.
using Character = std::uint32_t;

std::size_t length_after(unsigned char lead) {
  if (lead < 0x80) {
    return 1;
  }
  if (lead >= 0xc2 && lead <= 0xdf) {
    return 2;
  }
  if (lead >= 0xe0 && lead <= 0xef) {
    return 3;
  }
  return lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
}

/// No overlong form, no surrogate, nothing past U+10FFFF (Unicode, table 3-7).
bool second_byte_fits(std::string_view character) {
  const auto second = static_cast<unsigned char>(character[1]);
  switch (static_cast<unsigned char>(character[0])) {
    case 0xe0:
      return second >= 0xa0;
    case 0xed:
      return second <= 0x9f;
    case 0xf0:
      return second >= 0x90;
    case 0xf4:
      return second <= 0x8f;
    default:
      return true;
  }
}

/// Takes the character at the front of `rest`; throws where that is not UTF-8.
Character take_character(std::string_view& rest, std::size_t size, const std::string& name) {
  const std::size_t length = length_after(static_cast<unsigned char>(rest[0]));
  bool fine = length > 0 && length <= rest.size();
  Character character = 0;
  for (std::size_t i = 0; fine && i < length; ++i) {
    const auto byte = static_cast<unsigned char>(rest[i]);
    fine = i == 0 || ((byte & 0xc0U) == 0x80U && (i > 1 || second_byte_fits(rest)));
    character = (character << 8U) | byte;
  }
  if (!fine) {
    fail(kTextPlace, name, " is not UTF-8 at byte ", size - rest.size());
  }
  rest.remove_prefix(length);
  return character;
}

std::string spelled(Character character) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) {
    const auto byte = static_cast<unsigned char>((character >> static_cast<unsigned>(shift)) & 0xffU);
    if (byte != 0 || !bytes.empty() || shift == 0) {
      bytes.push_back(static_cast<char>(byte));
    }
  }
  return bytes;
}

at::ScalarType smallest_type(std::size_t characters) {
  if (characters <= 256) {
    return at::kByte;
  }
  return characters <= 32768 ? at::kShort : at::kInt;
}

at::Tensor stored_small(const std::vector<std::int32_t>& tokens, std::size_t characters) {
  const std::int64_t size = static_cast<std::int64_t>(tokens.size());
  at::Tensor wide = new_tensor({size}, at::kInt);
  std::copy(tokens.begin(), tokens.end(), wide.mutable_data_ptr<std::int32_t>());
  return wide.to(smallest_type(characters));
}

std::string content_of(const std::filesystem::path& path) {
  const std::unique_ptr<ByteReader> file = open_file(kTextPlace, path);
  return read_rest(*file);
}

}  // namespace

Text tokenize(std::string_view text, const std::string& name) {
  std::set<Character> characters;
  for (std::string_view rest = text; !rest.empty();) {
    characters.insert(take_character(rest, text.size(), name));
  }
  std::vector<std::string> vocabulary;
  for (const Character character : characters) {
    vocabulary.push_back(spelled(character));
  }
  return tokenize(text, vocabulary, name);
}

Text tokenize(std::string_view text, const std::vector<std::string>& vocabulary, const std::string& name) {
  if (text.empty()) {
    fail(kTextPlace, name, " is empty");
  }
  std::unordered_map<Character, std::int32_t> numbers;
  for (const std::string& word : vocabulary) {
    std::string_view rest = word;
    GRADWISE_CHECK(!word.empty(), kTextPlace, "the vocabulary has an empty character");
    const Character character = take_character(rest, word.size(), "the vocabulary");
    GRADWISE_CHECK(rest.empty(), kTextPlace, "the vocabulary has \"", word, "\", allowed: single characters");
    numbers.emplace(character, static_cast<std::int32_t>(numbers.size()));
  }
  GRADWISE_CHECK(numbers.size() == vocabulary.size(), kTextPlace, "the vocabulary has a character twice");
  std::vector<std::int32_t> tokens;
  tokens.reserve(text.size());
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t place = text.size() - rest.size();
    const Character character = take_character(rest, text.size(), name);
    const auto found = numbers.find(character);
    if (found == numbers.end()) {
      fail(kTextPlace, name, " has the character \"", spelled(character), "\" at byte ", place,
           ", which is not among the ", vocabulary.size(), " of the vocabulary");
    }
    tokens.push_back(found->second);
  }
  return {vocabulary, stored_small(tokens, vocabulary.size())};
}

Text read_text(const std::filesystem::path& path) { return tokenize(content_of(path), path.string()); }

Text read_text(const std::filesystem::path& path, const std::vector<std::string>& vocabulary) {
  return tokenize(content_of(path), vocabulary, path.string());
}

std::string decode(const at::Tensor& tokens, const std::vector<std::string>& vocabulary) {
  const at::Tensor numbers = tokens.to(at::kCPU, at::kLong).contiguous();
  const std::int64_t* number = numbers.const_data_ptr<std::int64_t>();
  const auto size = static_cast<std::int64_t>(vocabulary.size());
  std::string text;
  for (std::int64_t i = 0; i < numbers.numel(); ++i) {
    GRADWISE_CHECK(number[i] >= 0 && number[i] < size, kTextPlace, "token ", number[i], " at ", i,
                   ", allowed: from 0 to ", size - 1);
    text += vocabulary[static_cast<std::size_t>(number[i])];
  }
  return text;
}

TextSplit split(const Text& text, double fraction) {
  GRADWISE_CHECK(fraction > 0 && fraction < 1, kTextPlace, "fraction is ", fraction, ", allowed: above 0, below 1");
  const std::int64_t size = text.tokens.size(0);
  const std::int64_t first = std::llround(fraction * static_cast<double>(size));
  GRADWISE_CHECK(first > 0 && first < size, kTextPlace, "a fraction of ", fraction, " splits ", size,
                 " characters into ", first, " and ", size - first, ", allowed: at least one in each part");
  return {{text.vocabulary, text.tokens.narrow(0, 0, first)},
          {text.vocabulary, text.tokens.narrow(0, first, size - first)}};
}

}  // namespace gradwise
