#include "gradwise/data/npy.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "gradwise/core/error.h"
#include "gradwise/data/array_bytes.h"
#include "gradwise/data/byte_reader.h"
#include "gradwise/data/new_tensor.h"

namespace gradwise {
namespace {

constexpr const char* kNpyPlace = "npy";
constexpr std::string_view kMagic("\x93NUMPY", 6);
// NumPy itself reads no longer header without being told to.
constexpr std::uint32_t kLongestHeader = 1U << 20;

struct Header {
  std::string descr;
  bool fortran_order = false;
  std::vector<std::int64_t> shape;
};

/// Reads the Python dictionary of the header: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
class HeaderText {
 public:
  HeaderText(std::string_view text, const std::string& file) : text_(text), file_(file) {}

  Header parse() {
    Header header;
    int found = 0;
    expect('{');
    while (!accept('}')) {
      const std::string key = quoted();
      expect(':');
      if (key == "descr") {
        header.descr = quoted();
      } else if (key == "fortran_order") {
        header.fortran_order = truth();
      } else if (key == "shape") {
        header.shape = shape();
      } else {
        refuse("the key " + key);
      }
      ++found;
      if (!accept(',') && peek() != '}') {
        refuse("no comma after " + key);
      }
    }
    if (found != 3) {
      refuse(std::to_string(found) + " keys");
    }
    return header;
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    fail(kNpyPlace, file_, " has a header with ", what,
         ", allowed: descr (one plain type), fortran_order and shape, as in NumPy's format");
  }

  char peek() {
    while (!text_.empty() && (text_[0] == ' ' || text_[0] == '\n')) {
      text_.remove_prefix(1);
    }
    return text_.empty() ? '\0' : text_[0];
  }

  bool accept(char wanted) {
    if (peek() != wanted) {
      return false;
    }
    text_.remove_prefix(1);
    return true;
  }

  void expect(char wanted) {
    if (!accept(wanted)) {
      refuse(text_.empty() ? "its end missing" : "\"" + std::string(text_.substr(0, 20)) + "\"");
    }
  }

  std::string quoted() {
    const char quote = peek() == '"' ? '"' : '\'';
    expect(quote);
    const std::size_t end = text_.find(quote);
    if (end == std::string_view::npos) {
      refuse("an open quote");
    }
    std::string word(text_.substr(0, end));
    text_.remove_prefix(end + 1);
    return word;
  }

  bool truth() {
    peek();
    const bool value = text_.starts_with("True");
    if (!value && !text_.starts_with("False")) {
      refuse("a fortran_order that is neither True nor False");
    }
    text_.remove_prefix(value ? 4 : 5);
    return value;
  }

  std::vector<std::int64_t> shape() {
    std::vector<std::int64_t> lengths;
    expect('(');
    while (!accept(')')) {
      peek();
      std::int64_t length = 0;
      const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), length);
      if (error != std::errc() || length < 0) {
        refuse("a shape that is not made of whole numbers");
      }
      text_.remove_prefix(static_cast<std::size_t>(end - text_.data()));
      accept('L');  // Python 2 wrote long integers so
      if (!accept(',') && peek() != ')') {
        refuse("an open shape");
      }
      lengths.push_back(length);
    }
    return lengths;
  }

  std::string_view text_;
  const std::string& file_;
};

std::string read_header_text(ByteReader& reader) {
  std::array<char, 8> start{};
  const std::size_t count = reader.read(start.data(), start.size());
  if (count < start.size() || std::string_view(start.data(), kMagic.size()) != kMagic) {
    fail(kNpyPlace, reader.name(), " is not a NumPy array file: it does not start with \\x93NUMPY");
  }
  const int version = static_cast<unsigned char>(start[6]);
  if (version < 1 || version > 3) {
    fail(kNpyPlace, reader.name(), " has format version ", version, ", allowed: 1, 2, 3");
  }
  std::uint32_t length = 0;
  read_exactly(kNpyPlace, reader, &length, version == 1 ? 2 : 4, "its header");
  if (length > kLongestHeader) {
    fail(kNpyPlace, reader.name(), " has a header of ", length, " bytes, allowed: at most ", kLongestHeader);
  }
  std::string text(length, '\0');
  read_exactly(kNpyPlace, reader, text.data(), text.size(), "its header");
  return text;
}

at::ScalarType element_type(const std::string& descr, const std::string& file) {
  struct Known {
    std::string_view name;
    at::ScalarType type;
  };
  static constexpr std::array<Known, 9> kKnown = {{{"f2", at::kHalf},
                                                   {"f4", at::kFloat},
                                                   {"f8", at::kDouble},
                                                   {"i1", at::kChar},
                                                   {"i2", at::kShort},
                                                   {"i4", at::kInt},
                                                   {"i8", at::kLong},
                                                   {"u1", at::kByte},
                                                   {"b1", at::kBool}}};
  const bool ordered = descr.size() == 3 && std::string_view("<>|=").find(descr[0]) != std::string_view::npos;
  for (const Known& known : kKnown) {
    if (ordered && known.name == std::string_view(descr).substr(1)) {
      return known.type;
    }
  }
  fail(kNpyPlace, file, " has dtype \"", descr, "\", allowed: f2, f4, f8, i1, i2, i4, i8, u1, b1");
}

/// An array in Fortran order is one in C order with the dimensions reversed.
at::Tensor from_fortran_order(const at::Tensor& reversed) {
  std::vector<std::int64_t> dimensions;
  for (std::int64_t d = reversed.dim() - 1; d >= 0; --d) {
    dimensions.push_back(d);
  }
  return reversed.permute(dimensions).contiguous();
}

}  // namespace

at::Tensor read_npy(ByteReader& reader) {
  const std::string text = read_header_text(reader);
  Header header = HeaderText(text, reader.name()).parse();
  const at::ScalarType type = element_type(header.descr, reader.name());
  const std::size_t width = c10::elementSize(type);
  const std::optional<std::uint64_t> bytes = byte_size(header.shape, width);
  if (!bytes || *bytes > reader.most_bytes()) {
    fail(kNpyPlace, reader.name(), " tells of shape ", at::IntArrayRef(header.shape),
         " in its header, more than it can hold");
  }
  if (header.fortran_order) {
    std::reverse(header.shape.begin(), header.shape.end());
  }
  at::Tensor result = new_tensor(header.shape, type);
  const std::size_t count = static_cast<std::size_t>(result.numel());
  read_exactly(kNpyPlace, reader, result.mutable_data_ptr(), *bytes, "the data that its header tells of");
  expect_end(kNpyPlace, reader);
  if (header.descr[0] == '>') {
    swap_bytes(result.mutable_data_ptr(), count, width);
  }
  if (type == at::kBool) {
    clean_booleans(result.mutable_data_ptr(), count);
  }
  return header.fortran_order ? from_fortran_order(result) : result;
}

at::Tensor read_npy(const std::filesystem::path& path) { return read_npy(*open_file(kNpyPlace, path)); }

}  // namespace gradwise
