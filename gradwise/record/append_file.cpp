#include "gradwise/record/append_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "gradwise/core/error.h"

namespace gradwise {

AppendFile::AppendFile(std::filesystem::path path)
    : path_(std::move(path)), descriptor_(::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644)) {
  if (descriptor_ < 0) {
    fail("record", "can't open ", path_.string(), ": ", std::strerror(errno));
  }
}

AppendFile::~AppendFile() { ::close(descriptor_); }

void AppendFile::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0 && errno != EINTR) {
      fail("record", "can't write ", path_.string(), ": ", std::strerror(errno));
    }
    bytes.remove_prefix(written > 0 ? static_cast<std::size_t>(written) : 0);
  }
}

void AppendFile::sync() {
  if (::fdatasync(descriptor_) != 0) {
    fail("record", "can't sync ", path_.string(), ": ", std::strerror(errno));
  }
}

}  // namespace gradwise
