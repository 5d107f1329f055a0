#include "gradwise/data/safetensors.h"

#include <gtest/gtest.h>

#include <limits>

#include "error_of.h"
#include "temporary_folder.h"
#include "tensor_of.h"

namespace gradwise {
namespace {

std::string file_of(const std::string& header, const std::string& data) {
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < 4; ++i) {
    bytes[i] = static_cast<char>((header.size() >> (8 * i)) & 0xffU);
  }
  return bytes + header + data;
}

std::string content_of(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

// test_formats.py compares every type with the reference, byte by byte.
TEST(SafeTensors, GivesBackWhatWasWritten) {
  const TemporaryFolder folder;
  std::map<std::string, at::Tensor> tensors;
  tensors["wide"] = tensor_of<double>({1, -2, std::numeric_limits<double>::infinity()}, {3});
  tensors["narrow"] = counted<std::uint8_t>({5});
  tensors["transposed"] = counted<float>({3, 4}).t();
  tensors["scalar"] = tensor_of<std::int64_t>({-7}, {});
  tensors["none"] = counted<float>({0, 3});
  tensors["truth"] = tensor_of<bool>({true, false}, {2});
  write_safetensors(folder / "a.safetensors", tensors, {{"format", "pt"}, {"note", "\"quoted\" é"}});
  const SafeTensors read = read_safetensors(folder / "a.safetensors");
  EXPECT_EQ(read.metadata.at("note"), "\"quoted\" é");
  ASSERT_EQ(read.tensors.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    SCOPED_TRACE(name);
    EXPECT_EQ(read.tensors.at(name).scalar_type(), tensor.scalar_type());
    EXPECT_TRUE(read.tensors.at(name).equal(tensor));
  }
}

TEST(SafeTensors, AlignsItsDataAndHoldsNoTensors) {
  const TemporaryFolder folder;
  write_safetensors(folder / "empty", {});
  EXPECT_EQ(content_of(folder / "empty"), file_of("{}      ", ""));
  EXPECT_TRUE(read_safetensors(folder / "empty").tensors.empty());
  write_safetensors(folder / "one", {{"x", counted<float>({1})}});
  EXPECT_EQ(content_of(folder / "one").size() % 8, 4U);
}

TEST(SafeTensors, WritesWholeOrNotAtAll) {
  const TemporaryFolder folder;
  const auto path = folder.write("kept", "what stood there");
  EXPECT_ERROR_WITH("tensor \"x\" is undefined", write_safetensors(path, {{"x", at::Tensor()}}));
  EXPECT_ERROR_WITH("keeps for itself", write_safetensors(path, {{"__metadata__", counted<float>({1})}}));
  EXPECT_ERROR_WITH("can't be written", write_safetensors(path, {{"\xff", counted<float>({1})}}));
  EXPECT_EQ(content_of(path), "what stood there");
  EXPECT_ERROR_WITH("can't create", write_safetensors(folder / "no/such/folder", {{"x", counted<float>({1})}}));
}

struct BadSafetensors {
  const char* what;
  std::string content;
  const char* message;
};

std::vector<BadSafetensors> bad_files() {
  const std::string four = "abcd";
  const std::string good = R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  const std::string largest = std::string("\xff\xff\xff\xff\xff\xff\xff\xff", 8);
  return {
      {"empty", "", "has 0 bytes"},
      {"length alone", std::string("\x10\0\0\0\0\0\0\0", 8), "header of 16 bytes, but has 8"},
      {"header too long", largest + "{}", "allowed: at most 100000000"},
      {"header cut", file_of(good, "").substr(0, 40), "bytes in all"},
      {"no object", file_of("[]", ""), "does not start with {"},
      {"blank first", file_of(" {}", ""), "does not start with {"},
      {"no JSON", file_of("{\"x\":", ""), "not JSON"},
      {"not UTF-8", file_of("{\"\xff\":1}", ""), "not JSON"},
      {"not an entry", file_of(R"({"x":1})", ""), "needs dtype, shape and data_offsets"},
      {"unknown dtype", file_of(R"({"x":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}})", four), "dtype \"F31\""},
      {"negative length", file_of(R"({"x":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", four), "has -1 in"},
      {"broken length", file_of(R"({"x":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", four), "has 1.0 in"},
      {"overflow", file_of(R"({"x":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}})", four),
       "too large"},
      {"size", file_of(R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", four), "takes 8 bytes"},
      {"backwards", file_of(R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", four), "takes 4 bytes"},
      {"beyond the file", file_of(good, "abc"), "up to byte 4, the file holds 3"},
      {"bytes left over", file_of(good, "abcde"), "holds 5 bytes after its header, its tensors take 4"},
      {"hole at the start", file_of(R"({"x":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})", four), "hole"},
      {"hole",
       file_of(R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
               R"("y":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})",
               four),
       "tensor \"y\""},
      {"overlap",
       file_of(R"({"x":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},)"
               R"("y":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}})",
               four),
       "overlap"},
      {"name twice",
       file_of(R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
               R"("x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
               four),
       "\"x\" twice"},
      {"dtype twice", file_of(R"({"x":{"dtype":"F32","dtype":"I32","shape":[1],"data_offsets":[0,4]}})", four),
       "\"dtype\" twice"},
      {"metadata", file_of(R"({"__metadata__":{"a":1}})", ""), "allowed: text"},
  };
}

TEST(SafeTensors, RefusesHeadersThatLie) {
  const TemporaryFolder folder;
  for (const BadSafetensors& file : bad_files()) {
    SCOPED_TRACE(file.what);
    const auto path = folder.write("bad.safetensors", file.content);
    EXPECT_ERROR_WITH(file.message, read_safetensors(path));
    EXPECT_ERROR_WITH(path.string(), read_safetensors(path));
  }
  EXPECT_ERROR_WITH("can't open", read_safetensors(folder / "missing"));
  EXPECT_ERROR_WITH("not a regular file", read_safetensors(folder / "."));
}

// A file cut off anywhere is refused.
TEST(SafeTensors, RefusesEveryTruncation) {
  const TemporaryFolder folder;
  const std::map<std::string, at::Tensor> tensors = {{"a", counted<float>({3})}, {"b", counted<std::uint8_t>({2})}};
  write_safetensors(folder / "whole", tensors);
  const std::string whole = content_of(folder / "whole");
  for (std::size_t length = 0; length < whole.size(); ++length) {
    const auto path = folder.write("cut", whole.substr(0, length));
    EXPECT_NE(error_of([&path] { (void)read_safetensors(path); }), "no error") << length;
  }
}

}  // namespace
}  // namespace gradwise
