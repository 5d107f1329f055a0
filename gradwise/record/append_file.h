#pragma once

#include <filesystem>
#include <string_view>

namespace gradwise {

/// A file that only grows. Errors name the path and the system's reason.
class AppendFile {
 public:
  explicit AppendFile(std::filesystem::path path);
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  void write(std::string_view bytes);
  /// Makes what was written durable.
  void sync();

 private:
  std::filesystem::path path_;
  int descriptor_;
};

}  // namespace gradwise
