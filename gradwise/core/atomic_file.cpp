#include "gradwise/core/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "gradwise/core/error.h"

namespace gradwise {
namespace {

// Linux writes at most 0x7ffff000 bytes in one call.
constexpr std::size_t kLargestWrite = std::size_t{1} << 30;

[[noreturn]] void fail_with_errno(const char* what, const std::filesystem::path& path) {
  const int code = errno;
  fail("file", what, " ", path.string(), ": ", std::strerror(code));
}

}  // namespace

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
  temporary_ = path_;
  temporary_ += ".tmp." + std::to_string(::getpid());
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor_ < 0) {
    fail_with_errno("can't create", temporary_);
  }
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) {
    ::close(descriptor_);
    ::unlink(temporary_.c_str());
  }
}

void AtomicFile::write(const void* data, std::size_t bytes) {
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = ::write(descriptor_, at, std::min(bytes, kLargestWrite));
    if (written < 0) {
      if (errno == EINTR) {
        continue;
      }
      fail_with_errno("can't write", path_);
    }
    at += written;
    bytes -= static_cast<std::size_t>(written);
  }
}

void AtomicFile::commit() {
  if (::fsync(descriptor_) != 0) {
    fail_with_errno("can't sync", path_);
  }
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
    fail_with_errno("can't rename to", path_);
  }
  ::close(std::exchange(descriptor_, -1));
  sync_directory(path_.has_parent_path() ? path_.parent_path() : ".");
}

void write_file_atomically(const std::filesystem::path& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content.data(), content.size());
  file.commit();
}

void sync_directory(const std::filesystem::path& directory) {
  const int descriptor = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) {
    fail_with_errno("can't open folder", directory);
  }
  const int status = ::fsync(descriptor);
  ::close(descriptor);
  if (status != 0) {
    fail_with_errno("can't sync folder", directory);
  }
}

}  // namespace gradwise
