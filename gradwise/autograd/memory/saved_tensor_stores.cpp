#include <ATen/ops/empty.h>
#include <ATen/ops/empty_strided.h>
#include <unistd.h>
#include <zlib.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <system_error>
#include <utility>
#include <vector>

#include "gradwise/autograd/memory/saved_tensor_hooks.h"
#include "gradwise/autograd/memory/shared_packs.h"
#include "gradwise/core/error.h"

namespace gradwise {
namespace {

// Memory that is held by a leaf anyway: its own, or a view's as the transposed weight that a linear layer saves.
bool has_memory_of_leaf(const at::Tensor& tensor) {
  const at::TensorBase& own = tensor;
  const at::TensorBase& owner = own.is_view() ? own._base() : own;
  return owner.is_leaf() && owner.requires_grad();
}

// Applies `store` to what is worth it and it can take, once to each tensor; the rest stays. A tensor that is conjugated
// or negated when it is read stays too: what it is in memory is not what it is.
std::unique_ptr<SavedTensorHooks> hooks_for(const SavedTensorOptions& options, PackSaved store,
                                            bool (*can_store)(const at::Tensor&) = nullptr) {
  return std::make_unique<SavedTensorHooks>(
      detail::packed_once(std::move(store)), [smallest = options.smallest, can_store](const at::Tensor& tensor) {
        return tensor.layout() != at::kStrided || tensor.is_conj() || tensor.is_neg() ||
               static_cast<std::int64_t>(tensor.nbytes()) < smallest || has_memory_of_leaf(tensor) ||
               (can_store != nullptr && !can_store(tensor));
      });
}

// A folder that goes with the last file in it.
class ScratchFolder {
 public:
  explicit ScratchFolder(const std::filesystem::path& under) {
    std::string name = (under / "gradwise-saved-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) {
      fail("saved_tensors", "can't make a folder in ", under.string(), ": ", std::strerror(errno));
    }
    path_ = name;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  [[nodiscard]] std::filesystem::path next() { return path_ / std::to_string(count_++); }

 private:
  std::filesystem::path path_;
  std::atomic<std::int64_t> count_ = 0;
};

class StoredFile {
 public:
  StoredFile(std::shared_ptr<ScratchFolder> folder, const at::Tensor& tensor)
      : folder_(std::move(folder)), path_(folder_->next()) {
    std::ofstream file(path_, std::ios::binary);
    file.write(static_cast<const char*>(tensor.const_data_ptr()), static_cast<std::streamsize>(tensor.nbytes()));
    file.close();
    if (!file) {
      std::error_code ignored;
      std::filesystem::remove(path_, ignored);
      fail("saved_tensors", "can't write ", tensor.nbytes(), " bytes to ", path_.string(), ": ", std::strerror(errno));
    }
  }
  ~StoredFile() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  StoredFile(const StoredFile&) = delete;
  StoredFile& operator=(const StoredFile&) = delete;

  void read_into(const at::Tensor& tensor) const {
    std::ifstream file(path_, std::ios::binary);
    file.read(static_cast<char*>(tensor.mutable_data_ptr()), static_cast<std::streamsize>(tensor.nbytes()));
    if (!file) {
      fail("saved_tensors", "can't read a saved tensor back from ", path_.string());
    }
  }

 private:
  std::shared_ptr<ScratchFolder> folder_;
  std::filesystem::path path_;
};

// First bytes of all elements, then second bytes: those of one place are alike, and compress.
std::vector<unsigned char> by_place(const unsigned char* bytes, std::size_t elements, std::size_t width) {
  std::vector<unsigned char> grouped(elements * width);
  for (std::size_t place = 0; place < width; ++place) {
    unsigned char* out = grouped.data() + place * elements;
    for (std::size_t i = 0; i < elements; ++i) {
      out[i] = bytes[i * width + place];
    }
  }
  return grouped;
}

void back_in_order(const std::vector<unsigned char>& grouped, unsigned char* bytes, std::size_t elements,
                   std::size_t width) {
  for (std::size_t place = 0; place < width; ++place) {
    const unsigned char* in = grouped.data() + place * elements;
    for (std::size_t i = 0; i < elements; ++i) {
      bytes[i * width + place] = in[i];
    }
  }
}

struct Compressed {
  std::vector<unsigned char> bytes;
  at::DimVector sizes;
  at::TensorOptions options;

  explicit Compressed(const at::Tensor& tensor) : sizes(tensor.sizes()), options(tensor.options()) {
    const at::Tensor dense = tensor.to(at::kCPU).contiguous();
    const auto grouped = by_place(static_cast<const unsigned char*>(dense.const_data_ptr()),
                                  static_cast<std::size_t>(dense.numel()), dense.element_size());
    uLongf length = compressBound(grouped.size());
    bytes.resize(length);
    if (compress2(bytes.data(), &length, grouped.data(), grouped.size(), /*level=*/1) != Z_OK) {
      fail("saved_tensors", "zlib can't compress a tensor of ", grouped.size(), " bytes");
    }
    bytes.resize(length);
    bytes.shrink_to_fit();
  }

  [[nodiscard]] at::Tensor restored() const {
    const at::Tensor dense = at::empty(sizes, options.device(at::kCPU));
    std::vector<unsigned char> grouped(dense.nbytes());
    uLongf length = grouped.size();
    if (uncompress(grouped.data(), &length, bytes.data(), bytes.size()) != Z_OK || length != grouped.size()) {
      fail("saved_tensors", "a compressed tensor can't be restored: its memory was written over");
    }
    back_in_order(grouped, static_cast<unsigned char*>(dense.mutable_data_ptr()),
                  static_cast<std::size_t>(dense.numel()), dense.element_size());
    return dense.to(options.device());
  }
};

}  // namespace

std::unique_ptr<SavedTensorHooks> saved_tensors_on_host(const SavedTensorOptions& options) {
  return hooks_for(
      options,
      [](const at::Tensor& tensor) -> UnpackSaved {
        return [kept = tensor.to(at::kCPU), device = tensor.device()] { return kept.to(device); };
      },
      [](const at::Tensor& tensor) { return !tensor.is_cpu(); });
}

std::unique_ptr<SavedTensorHooks> saved_tensors_on_disk(const std::filesystem::path& folder,
                                                        const SavedTensorOptions& options) {
  const auto scratch = std::make_shared<ScratchFolder>(folder);
  return hooks_for(options, [scratch](const at::Tensor& tensor) -> UnpackSaved {
    const at::Tensor dense = tensor.to(at::kCPU).contiguous();
    const auto file = std::make_shared<StoredFile>(scratch, dense);
    return [file, sizes = at::DimVector(tensor.sizes()), facts = tensor.options()] {
      const at::Tensor read = at::empty(sizes, facts.device(at::kCPU));
      file->read_into(read);
      return read.to(facts.device());
    };
  });
}

std::unique_ptr<SavedTensorHooks> saved_tensors_in_bfloat16(const SavedTensorOptions& options) {
  return hooks_for(
      options,
      [](const at::Tensor& tensor) -> UnpackSaved {
        return [kept = tensor.to(at::kBFloat16), type = tensor.scalar_type()] { return kept.to(type); };
      },
      [](const at::Tensor& tensor) {
        const at::ScalarType type = tensor.scalar_type();
        return type == at::kFloat || type == at::kDouble;
      });
}

std::unique_ptr<SavedTensorHooks> saved_tensors_compressed(const SavedTensorOptions& options) {
  return hooks_for(options, [](const at::Tensor& tensor) -> UnpackSaved {
    const auto kept = std::make_shared<const Compressed>(tensor);
    return [kept] { return kept->restored(); };
  });
}

}  // namespace gradwise
