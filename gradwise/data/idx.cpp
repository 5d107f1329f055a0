#include "gradwise/data/idx.h"

#include <array>
#include <cstdint>
#include <iomanip>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "gradwise/core/error.h"
#include "gradwise/data/array_bytes.h"
#include "gradwise/data/byte_reader.h"
#include "gradwise/data/new_tensor.h"

namespace gradwise {
namespace {

constexpr const char* kIdxPlace = "idx";
constexpr std::size_t kMostDimensions = 16;

using Magic = std::array<unsigned char, 4>;

std::optional<at::ScalarType> element_type(unsigned char code) {
  switch (code) {
    case 0x08:
      return at::kByte;
    case 0x09:
      return at::kChar;
    case 0x0b:
      return at::kShort;
    case 0x0c:
      return at::kInt;
    case 0x0d:
      return at::kFloat;
    case 0x0e:
      return at::kDouble;
    default:
      return std::nullopt;
  }
}

std::string hexadecimal(const unsigned char* bytes, std::size_t count) {
  std::ostringstream text;
  text << std::hex << std::setfill('0');
  for (std::size_t i = 0; i < count; ++i) {
    text << (i == 0 ? "" : " ") << std::setw(2) << static_cast<int>(bytes[i]);
  }
  return text.str();
}

[[noreturn]] void fail_magic(const ByteReader& reader, const Magic& magic, std::size_t count) {
  fail(kIdxPlace, reader.name(), " starts with the bytes ", count == 0 ? "(none)" : hexadecimal(magic.data(), count),
       ", allowed: 00 00, a type (08, 09, 0b, 0c, 0d, 0e) and the number of dimensions (01 to 10)");
}

std::vector<std::int64_t> read_shape(ByteReader& reader, std::size_t dimensions) {
  std::vector<std::uint32_t> lengths(dimensions);
  read_exactly(kIdxPlace, reader, lengths.data(), dimensions * 4, "its header");
  swap_bytes(lengths.data(), dimensions, 4);
  return {lengths.begin(), lengths.end()};
}

}  // namespace

at::Tensor read_idx(const std::filesystem::path& path) {
  const std::unique_ptr<ByteReader> reader = open_file(kIdxPlace, path);
  Magic magic{};
  const std::size_t count = reader->read(magic.data(), magic.size());
  const std::optional<at::ScalarType> type = element_type(magic[2]);
  const bool right = count == magic.size() && magic[0] == 0 && magic[1] == 0 && type.has_value() && magic[3] >= 1 &&
                     magic[3] <= kMostDimensions;
  if (!right) {
    fail_magic(*reader, magic, count);
  }
  const std::vector<std::int64_t> shape = read_shape(*reader, magic[3]);
  const std::size_t width = c10::elementSize(*type);
  const std::optional<std::uint64_t> bytes = byte_size(shape, width);
  if (!bytes || *bytes > reader->most_bytes()) {
    fail(kIdxPlace, reader->name(), " tells of shape ", at::IntArrayRef(shape),
         " in its header, more than it can hold");
  }
  at::Tensor result = new_tensor(shape, *type);
  read_exactly(kIdxPlace, *reader, result.mutable_data_ptr(), *bytes, "the data that its header tells of");
  expect_end(kIdxPlace, *reader);
  swap_bytes(result.mutable_data_ptr(), static_cast<std::size_t>(result.numel()), width);
  return result;
}

Dataset read_idx_dataset(const std::filesystem::path& images, const std::filesystem::path& labels) {
  const at::Tensor inputs = read_idx(images);
  const at::Tensor targets = read_idx(labels);
  if (inputs.dim() < 2) {
    fail(kIdxPlace, images.string(), " has shape ", inputs.sizes(), ", allowed for images: 2 dimensions or more");
  }
  if (targets.dim() != 1) {
    fail(kIdxPlace, labels.string(), " has shape ", targets.sizes(), ", allowed for labels: 1 dimension");
  }
  if (inputs.size(0) != targets.size(0)) {
    fail(kIdxPlace, images.string(), " holds ", inputs.size(0), " samples, ", labels.string(), " ", targets.size(0),
         ", allowed: the same number");
  }
  return make_dataset(inputs, targets);
}

}  // namespace gradwise
