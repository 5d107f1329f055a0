#include "gradwise/data/safetensors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "gradwise/core/atomic_file.h"
#include "gradwise/core/error.h"
#include "gradwise/data/array_bytes.h"
#include "gradwise/data/new_tensor.h"
#include "gradwise/data/safetensors_header.h"

namespace gradwise {
namespace {

constexpr const char* kSafetensorsPlace = "safetensors";
// Linux reads at most 0x7ffff000 bytes in one call.
constexpr std::uint64_t kLargestRead = std::uint64_t{1} << 30;

/// A file that is read at given places.
class RandomAccessFile {
 public:
  explicit RandomAccessFile(const std::filesystem::path& path)
      : name_(path.string()), descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (descriptor_ < 0) {
      fail(kSafetensorsPlace, "can't open ", name_, ": ", std::strerror(errno));
    }
    struct stat about {};
    if (::fstat(descriptor_, &about) != 0 || !S_ISREG(about.st_mode)) {
      ::close(descriptor_);
      fail(kSafetensorsPlace, name_, " is not a regular file");
    }
    size_ = static_cast<std::uint64_t>(about.st_size);
  }
  ~RandomAccessFile() { ::close(descriptor_); }
  RandomAccessFile(const RandomAccessFile&) = delete;
  RandomAccessFile& operator=(const RandomAccessFile&) = delete;

  void read(void* to, std::uint64_t bytes, std::uint64_t at) const {
    char* next = static_cast<char*>(to);
    while (bytes > 0) {
      const ssize_t count = ::pread(descriptor_, next, std::min(bytes, kLargestRead), static_cast<off_t>(at));
      if (count < 0 && errno == EINTR) {
        continue;
      }
      if (count <= 0) {
        fail(kSafetensorsPlace, "can't read ", name_, ": ", count == 0 ? "it became shorter" : std::strerror(errno));
      }
      next += count;
      at += static_cast<std::uint64_t>(count);
      bytes -= static_cast<std::uint64_t>(count);
    }
  }

  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  std::string name_;
  int descriptor_;
  std::uint64_t size_ = 0;
};

std::string read_header_text(const RandomAccessFile& file) {
  std::uint64_t length = 0;
  if (file.size() < sizeof length) {
    fail(kSafetensorsPlace, file.name(), " has ", file.size(), " bytes, a header takes at least 8");
  }
  file.read(&length, sizeof length, 0);
  if (length > kLongestSafeTensorsHeader) {
    fail(kSafetensorsPlace, file.name(), " tells of a header of ", length, " bytes, allowed: at most ",
         kLongestSafeTensorsHeader);
  }
  if (length > file.size() - sizeof length) {
    fail(kSafetensorsPlace, file.name(), " tells of a header of ", length, " bytes, but has ", file.size(),
         " bytes in all");
  }
  std::string text(length, '\0');
  file.read(text.data(), length, sizeof length);
  return text;
}

SafeTensorsEntry entry_for(const std::string& name, const at::Tensor& tensor) {
  GRADWISE_CHECK(name != "__metadata__", kSafetensorsPlace, "a tensor is named \"", name,
                 "\", which the format keeps for itself");
  GRADWISE_CHECK(tensor.defined(), kSafetensorsPlace, "tensor \"", name, "\" is undefined");
  GRADWISE_CHECK(tensor.layout() == at::kStrided, kSafetensorsPlace, "tensor \"", name, "\" has layout ",
                 tensor.layout(), ", allowed: Strided");
  SafeTensorsEntry entry;
  entry.name = name;
  entry.dtype = tensor.scalar_type();
  entry.shape = tensor.sizes().vec();
  return entry;
}

/// The tensor itself where its bytes are what the file needs.
at::Tensor plain_bytes(const at::Tensor& tensor) {
  const at::Tensor here = tensor.is_cpu() ? tensor : tensor.cpu();
  return here.resolve_conj().resolve_neg().contiguous();
}

}  // namespace

SafeTensors read_safetensors(const std::filesystem::path& path) {
  const RandomAccessFile file(path);
  const std::string text = read_header_text(file);
  const std::uint64_t data_begin = sizeof(std::uint64_t) + text.size();
  SafeTensorsHeader header = parse_safetensors_header(text, file.size() - data_begin, file.name());
  SafeTensors result;
  result.metadata = std::move(header.metadata);
  for (const SafeTensorsEntry& entry : header.entries) {
    at::Tensor tensor = new_tensor(entry.shape, entry.dtype);
    file.read(tensor.mutable_data_ptr(), entry.end - entry.begin, data_begin + entry.begin);
    if (entry.dtype == at::kBool) {
      clean_booleans(tensor.mutable_data_ptr(), entry.end - entry.begin);
    }
    result.tensors.emplace(entry.name, std::move(tensor));
  }
  return result;
}

void write_safetensors(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  SafeTensorsHeader header;
  header.metadata = metadata;
  for (const auto& [name, tensor] : tensors) {
    header.entries.push_back(entry_for(name, tensor));
  }
  lay_out(header.entries);
  const std::string text = format_safetensors_header(header);
  const std::uint64_t length = text.size();
  AtomicFile file(path);
  file.write(&length, sizeof length);
  file.write(text.data(), text.size());
  for (const SafeTensorsEntry& entry : header.entries) {
    const at::Tensor bytes = plain_bytes(tensors.at(entry.name));
    file.write(bytes.const_data_ptr(), entry.end - entry.begin);
  }
  file.commit();
}

}  // namespace gradwise
