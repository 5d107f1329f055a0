#pragma once

#include <cstddef>
#include <filesystem>
#include <string_view>

namespace gradwise {

/// A file that is there whole or not at all: written under a temporary name beside its place, fsynced, renamed.
/// Without `commit` the temporary file is removed and what stood there before stays.
///
///   AtomicFile file(path);
///   file.write(text.data(), text.size());
///   file.commit();
///
/// Throws an Error (failure) with the path and the system's reason.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, std::size_t bytes);
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
};

void write_file_atomically(const std::filesystem::path& path, std::string_view content);

/// Makes the entries of a folder (renames, new files) durable.
void sync_directory(const std::filesystem::path& directory);

}  // namespace gradwise
