#include "gradwise/data/byte_reader.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>

#include "gradwise/core/error.h"

namespace gradwise {
namespace {

// gzread takes an unsigned int and returns an int.
constexpr std::size_t kLargestRead = std::size_t{1} << 30;
// Deflate makes data at most 1032 times smaller.
constexpr std::uint64_t kLargestInflation = 1032;

struct CloseGzip {
  void operator()(gzFile_s* file) const { gzclose_r(file); }
};

std::uint64_t most_bytes_of(const char* place, const std::filesystem::path& path) {
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (error) {
    fail(place, "can't read ", path.string(), ": ", error.message());
  }
  std::ifstream file(path, std::ios::binary);
  std::array<char, 2> start{};
  file.read(start.data(), start.size());
  const bool gzip = file.gcount() == 2 && start[0] == '\x1f' && start[1] == '\x8b';
  return gzip ? size * kLargestInflation : size;
}

/// zlib reads a file that is not compressed as it is.
class FileReader : public ByteReader {
 public:
  FileReader(const char* place, const std::filesystem::path& path) : place_(place), name_(path.string()) {
    if (!std::filesystem::exists(path)) {
      fail(place, "there is no file ", name_);
    }
    if (std::filesystem::is_directory(path)) {
      fail(place, name_, " is a folder, allowed: a file");
    }
    most_bytes_ = most_bytes_of(place, path);
    errno = 0;
    file_.reset(gzopen(path.c_str(), "rb"));
    if (!file_) {
      fail(place, "can't open ", name_, ": ", std::strerror(errno));
    }
    gzbuffer(file_.get(), 1U << 17);
  }

  std::size_t read(void* to, std::size_t bytes) override {
    std::size_t done = 0;
    while (done < bytes) {
      const unsigned chunk = static_cast<unsigned>(std::min(bytes - done, kLargestRead));
      const int count = gzread(file_.get(), static_cast<char*>(to) + done, chunk);
      if (count > 0) {
        done += static_cast<std::size_t>(count);
      }
      if (count < 0 || static_cast<unsigned>(count) < chunk) {
        refuse_damage();
        return done;
      }
    }
    return done;
  }

  [[nodiscard]] std::uint64_t most_bytes() const override { return most_bytes_; }
  [[nodiscard]] const std::string& name() const override { return name_; }

 private:
  /// After a short read: was that the end, or is the file cut off or damaged?
  void refuse_damage() {
    int code = Z_OK;
    const char* reason = gzerror(file_.get(), &code);
    if (code == Z_BUF_ERROR) {
      fail(place_, name_, " is a gzip file that is cut off");
    }
    if (code != Z_OK && code != Z_STREAM_END) {
      fail(place_, "can't read ", name_, ": ", code == Z_ERRNO ? std::strerror(errno) : reason);
    }
  }

  const char* place_;
  std::string name_;
  std::uint64_t most_bytes_ = 0;
  std::unique_ptr<gzFile_s, CloseGzip> file_;
};

}  // namespace

std::unique_ptr<ByteReader> open_file(const char* place, const std::filesystem::path& path) {
  return std::make_unique<FileReader>(place, path);
}

void read_exactly(const char* place, ByteReader& reader, void* to, std::uint64_t bytes, const char* what) {
  const std::size_t count = reader.read(to, static_cast<std::size_t>(bytes));
  if (count < bytes) {
    fail(place, reader.name(), " ends after ", count, " of ", bytes, " bytes of ", what);
  }
}

void expect_end(const char* place, ByteReader& reader) {
  char more = 0;
  if (reader.read(&more, 1) != 0) {
    fail(place, reader.name(), " goes on after the data that its header tells of");
  }
}

std::string read_rest(ByteReader& reader) {
  constexpr std::size_t kChunk = std::size_t{1} << 20;
  std::string text;
  std::size_t count = kChunk;
  while (count == kChunk) {
    const std::size_t before = text.size();
    text.resize(before + kChunk);
    count = reader.read(text.data() + before, kChunk);
    text.resize(before + count);
  }
  return text;
}

}  // namespace gradwise
