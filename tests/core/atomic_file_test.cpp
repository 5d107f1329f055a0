#include "gradwise/core/atomic_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>

#include "tests/core/file_size_limit.h"
#include "tests/data/error_of.h"
#include "tests/data/temporary_folder.h"

namespace gradwise {
namespace {

std::string content_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::set<std::string> names_in(const TemporaryFolder& folder) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "")) {
    names.insert(entry.path().filename().string());
  }
  return names;
}

using Names = std::set<std::string>;

TEST(AtomicFile, HoldsEveryPartAfterCommit) {
  const TemporaryFolder folder;
  const std::string zeros("a\0b", 3);
  AtomicFile file(folder / "out");
  file.write(zeros.data(), zeros.size());
  file.write("", 0);
  file.write("tail", 4);
  EXPECT_FALSE(std::filesystem::exists(folder / "out")) << "the file is there before commit";
  file.commit();
  EXPECT_EQ(content_of(folder / "out"), zeros + "tail");
  EXPECT_EQ(names_in(folder), Names{"out"});
}

TEST(AtomicFile, WithoutCommitNothingIsLeft) {
  const TemporaryFolder folder;
  {
    AtomicFile file(folder / "out");
    file.write("half", 4);
  }
  EXPECT_EQ(names_in(folder), Names{});
}

TEST(AtomicFile, WithoutCommitTheOldFileStays) {
  const TemporaryFolder folder;
  folder.write("out", "old");
  {
    AtomicFile file(folder / "out");
    file.write("new", 3);
    EXPECT_EQ(content_of(folder / "out"), "old");
  }
  EXPECT_EQ(content_of(folder / "out"), "old");
  EXPECT_EQ(names_in(folder), Names{"out"});
}

TEST(AtomicFile, ReplacesAnOldFile) {
  const TemporaryFolder folder;
  folder.write("out", "a longer old content");
  write_file_atomically(folder / "out", "new");
  EXPECT_EQ(content_of(folder / "out"), "new");
}

TEST(AtomicFile, WritesMoreThanOneSystemCallTakes) {
  const TemporaryFolder folder;
  std::string large(std::size_t{3} << 20, 'x');
  large.back() = 'y';
  write_file_atomically(folder / "out", large);
  EXPECT_TRUE(content_of(folder / "out") == large);
}

TEST(AtomicFile, NamesAFolderThatIsMissing) {
  const TemporaryFolder folder;
  EXPECT_ERROR_WITH((folder / "none/out").string(), write_file_atomically(folder / "none/out", "x"));
  EXPECT_ERROR_WITH("No such file or directory", write_file_atomically(folder / "none/out", "x"));
}

TEST(AtomicFile, NamesATargetThatIsAFolder) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "out/inside");
  EXPECT_ERROR_WITH((folder / "out").string(), write_file_atomically(folder / "out", "x"));
  EXPECT_EQ(names_in(folder), Names{"out"});
}

TEST(AtomicFile, AFullDiskLeavesTheOldFileWhole) {
  const TemporaryFolder folder;
  folder.write("out", "old");
  const std::string large(65536, 'x');
  std::string message;
  {
    const FileSizeLimit limit(4096);
    message = error_of([&folder, &large] { write_file_atomically(folder / "out", large); });
  }
  EXPECT_NE(message.find((folder / "out").string()), std::string::npos) << message;
  EXPECT_NE(message.find("File too large"), std::string::npos) << message;
  EXPECT_EQ(content_of(folder / "out"), "old");
  EXPECT_EQ(names_in(folder), Names{"out"});
}

TEST(AtomicFile, ErrorsAreFailuresNotUsage) {
  try {
    write_file_atomically("/nonexistent-folder/out", "x");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::failure);
  }
}

TEST(SyncDirectory, NamesWhatIsNoFolder) {
  const TemporaryFolder folder;
  EXPECT_ERROR_WITH("can't open folder", sync_directory(folder / "none"));
}

}  // namespace
}  // namespace gradwise
