#include "gradwise/data/idx.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <cstring>

#include "error_of.h"
#include "temporary_folder.h"
#include "tensor_of.h"

namespace gradwise {
namespace {

std::string big_endian(std::uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) {
    bytes.push_back(static_cast<char>((value >> static_cast<unsigned>(shift)) & 0xffU));
  }
  return bytes;
}

std::string idx_header(char type, const std::vector<std::uint32_t>& shape) {
  std::string bytes{'\0', '\0', type, static_cast<char>(shape.size())};
  for (const std::uint32_t length : shape) {
    bytes += big_endian(length);
  }
  return bytes;
}

std::string gzipped(const TemporaryFolder& folder, const std::string& content) {
  const std::filesystem::path path = folder / "to-compress.gz";
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, content.data(), static_cast<unsigned>(content.size()));
  gzclose(file);
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

TEST(Idx, ReadsEveryElementType) {
  const TemporaryFolder folder;
  const std::string u8 = idx_header(8, {2, 2}) + std::string("\x01\x02\xfe\xff", 4);
  const std::string i8 = idx_header(9, {2}) + std::string("\x01\xff", 2);
  const std::string i16 = idx_header(0x0b, {2}) + std::string("\x01\x02\xff\xfe", 4);
  const std::string i32 = idx_header(0x0c, {1}) + std::string("\x00\x01\x00\x00", 4);
  const std::string f32 = idx_header(0x0d, {2}) + std::string("\x3f\x80\x00\x00\xc0\x00\x00\x00", 8);
  const std::string f64 = idx_header(0x0e, {1}) + std::string("\x3f\xf8\x00\x00\x00\x00\x00\x00", 8);
  EXPECT_TRUE(read_idx(folder.write("a", u8)).equal(tensor_of<std::uint8_t>({1, 2, 254, 255}, {2, 2})));
  EXPECT_TRUE(read_idx(folder.write("b", i8)).equal(tensor_of<std::int8_t>({1, -1}, {2})));
  EXPECT_TRUE(read_idx(folder.write("c", i16)).equal(tensor_of<std::int16_t>({258, -2}, {2})));
  EXPECT_TRUE(read_idx(folder.write("d", i32)).equal(tensor_of<std::int32_t>({65536}, {1})));
  EXPECT_TRUE(read_idx(folder.write("e", f32)).equal(tensor_of<float>({1, -2}, {2})));
  EXPECT_TRUE(read_idx(folder.write("f", f64)).equal(tensor_of<double>({1.5}, {1})));
}

TEST(Idx, ReadsGzipAsPlain) {
  const TemporaryFolder folder;
  const std::string plain = idx_header(8, {3, 5}) + std::string(15, '\x07');
  const at::Tensor expected = read_idx(folder.write("plain", plain));
  EXPECT_TRUE(read_idx(folder.write("gz", gzipped(folder, plain))).equal(expected));
}

TEST(Idx, MakesGreyImagesOfOneChannel) {
  const TemporaryFolder folder;
  const auto images = folder.write("images", idx_header(8, {2, 3, 4}) + std::string(24, '\x01'));
  const auto labels = folder.write("labels", idx_header(8, {2}) + std::string("\x04\x09", 2));
  const Dataset dataset = read_idx_dataset(images, labels);
  EXPECT_EQ(dataset.inputs.sizes(), (std::vector<std::int64_t>{2, 1, 3, 4}));
  EXPECT_EQ(values_of<std::uint8_t>(dataset.targets), (std::vector<std::uint8_t>{4, 9}));
}

struct BadIdx {
  const char* what;
  std::string content;
  const char* message;
};

TEST(Idx, RefusesBadFiles) {
  const TemporaryFolder folder;
  const std::string header = idx_header(8, {2, 2});
  std::string random(5000, '\0');
  for (std::size_t i = 0; i < random.size(); ++i) {
    random[i] = static_cast<char>(i * i * 31 % 253);
  }
  const std::string zipped = gzipped(folder, idx_header(8, {5000}) + random);
  std::string damaged = zipped;
  damaged[damaged.size() - 6] = static_cast<char>(damaged[damaged.size() - 6] ^ 0x55);  // the checksum
  const std::vector<BadIdx> files = {
      {"empty", "", "(none)"},
      {"png", "\x89PNG\r\n", "89 50 4e 47"},
      {"short magic", std::string("\0\0", 2), "00 00, allowed"},
      {"unknown type", std::string("\0\0\x07\x01", 4), "00 00 07 01"},
      {"no dimension", std::string("\0\0\x08\0", 4), "00 00 08 00"},
      {"cut in the header", header.substr(0, 7), "of its header"},
      {"cut in the data", header + "abc", "ends after 3 of 4 bytes"},
      {"too long", header + "abcde", "goes on after"},
      {"a lie", idx_header(8, {0xffffffff, 0xffffffff, 0xffffffff}), "more than it can hold"},
      {"gzip cut in the data", zipped.substr(0, zipped.size() / 2), "cut off"},
      {"gzip cut in the checksum", zipped.substr(0, zipped.size() - 3), "cut off"},
      {"gzip damaged", damaged, "can't read"},
      {"gzip of too little", gzipped(folder, header + "abc"), "ends after 3 of 4 bytes"},
  };
  for (const BadIdx& file : files) {
    SCOPED_TRACE(file.what);
    const auto path = folder.write("bad", file.content);
    EXPECT_ERROR_WITH(file.message, read_idx(path));
    EXPECT_ERROR_WITH(path.string(), read_idx(path));
  }
  EXPECT_ERROR_WITH("there is no file", read_idx(folder / "missing"));
  EXPECT_ERROR_WITH("is a folder", read_idx(folder / "."));
}

TEST(Idx, RefusesFilesThatAreMixedUp) {
  const TemporaryFolder folder;
  const auto images = folder.write("images", idx_header(8, {2, 1, 1}) + "ab");
  const auto labels = folder.write("labels", idx_header(8, {2}) + "ab");
  EXPECT_ERROR_WITH(images.string() + " has shape [2, 1, 1], allowed for labels: 1 dimension",
                    read_idx_dataset(images, images));
  EXPECT_ERROR_WITH(labels.string() + " has shape [2], allowed for images: 2 dimensions or more",
                    read_idx_dataset(labels, images));
}

TEST(Idx, RefusesCountsThatDisagree) {
  const TemporaryFolder folder;
  const auto images = folder.write("images", idx_header(8, {2, 1, 1}) + "ab");
  const auto labels = folder.write("labels", idx_header(8, {3}) + "abc");
  EXPECT_ERROR_WITH("holds 2 samples", read_idx_dataset(images, labels));
}

}  // namespace
}  // namespace gradwise
