#include "gradwise/data/npy.h"

#include <gtest/gtest.h>

#include "error_of.h"
#include "gradwise/data/npz.h"
#include "temporary_folder.h"
#include "tensor_of.h"

namespace gradwise {
namespace {

/// A version 1 file with this header dictionary and data.
std::string npy_file(const std::string& dictionary, const std::string& data) {
  const std::string header = dictionary + "\n";
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes.push_back(static_cast<char>(header.size() & 0xffU));
  bytes.push_back(static_cast<char>(header.size() >> 8U));
  return bytes + header + data;
}

// test_formats.py compares every type and order with NumPy itself.
TEST(Npy, ReadsAnArray) {
  const TemporaryFolder folder;
  const auto path = folder.write("a.npy", npy_file("{'descr': '>i2', 'fortran_order': True, 'shape': (2, 2), }",
                                                   std::string("\0\1\0\2\0\3\0\4", 8)));
  EXPECT_TRUE(read_npy(path).equal(tensor_of<std::int16_t>({1, 3, 2, 4}, {2, 2})));
}

TEST(Npy, ReadsAScalarAndOddSpacing) {
  const TemporaryFolder folder;
  const auto path =
      folder.write("a.npy", npy_file("{ \"shape\":(),'fortran_order':False ,'descr':'|u1'}", std::string("\7")));
  const at::Tensor scalar = read_npy(path);
  EXPECT_EQ(scalar.dim(), 0);
  EXPECT_EQ(values_of<std::uint8_t>(scalar), std::vector<std::uint8_t>{7});
}

TEST(Npy, CleansBooleans) {
  const TemporaryFolder folder;
  const auto path = folder.write(
      "a.npy", npy_file("{'descr': '|b1', 'fortran_order': False, 'shape': (3,), }", std::string("\0\1\xff", 3)));
  EXPECT_TRUE(read_npy(path).equal(tensor_of<bool>({false, true, true}, {3})));
}

struct BadNpy {
  const char* what;
  std::string content;
  const char* message;
};

TEST(Npy, RefusesBadFiles) {
  const TemporaryFolder folder;
  const std::string two = "'fortran_order': False, 'shape': (2,), }";
  const std::vector<BadNpy> files = {
      {"empty", "", "does not start with"},
      {"foreign", "PK\x03\x04 and so on", "does not start with"},
      {"version", std::string("\x93NUMPY\x09\x00\x02\x00{}", 12), "format version 9"},
      {"cut in the header", std::string("\x93NUMPY\x01\x00\x50\x00{'descr'", 18), "of its header"},
      {"cut in the data", npy_file("{'descr': '<f4', " + two, "abcdefg"), "ends after 7 of 8 bytes"},
      {"too long", npy_file("{'descr': '<f4', " + two, "abcdefghi"), "goes on after"},
      {"a lie", npy_file("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,), }", ""), "can hold"},
      {"overflow", npy_file("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 99999999999), }", ""),
       "can hold"},
      {"object", npy_file("{'descr': '|O', " + two, ""), "dtype \"|O\", allowed: f2"},
      {"complex", npy_file("{'descr': '<c8', " + two, ""), "dtype \"<c8\""},
      {"structured", npy_file("{'descr': [('a', '<f4')], " + two, ""), "has a header with"},
      {"negative length", npy_file("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }", ""), "a shape"},
      {"no shape", npy_file("{'descr': '<f4', 'fortran_order': False, }", ""), "2 keys"},
      {"other key", npy_file("{'descr': '<f4', 'order': 'C', }", ""), "the key order"},
      {"no end", npy_file("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), ", "abcdefgh"), "its end missing"},
      {"truth", npy_file("{'descr': '<f4', 'fortran_order': 1, 'shape': (2,), }", ""), "neither True nor False"},
  };
  for (const BadNpy& file : files) {
    SCOPED_TRACE(file.what);
    const auto path = folder.write("bad.npy", file.content);
    EXPECT_ERROR_WITH(file.message, read_npy(path));
    EXPECT_ERROR_WITH(path.string(), read_npy(path));
  }
}

TEST(Npz, RefusesWhatIsNoArchive) {
  const TemporaryFolder folder;
  EXPECT_ERROR_WITH("as a zip archive", read_npz(folder.write("a.npz", "no archive at all")));
  EXPECT_ERROR_WITH("there is no file", read_npz(folder / "missing.npz"));
}

}  // namespace
}  // namespace gradwise
