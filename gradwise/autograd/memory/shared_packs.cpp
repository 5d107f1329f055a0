#include "gradwise/autograd/memory/shared_packs.h"

#include <c10/core/StorageImpl.h>

#include <map>
#include <mutex>
#include <utility>
#include <vector>

namespace gradwise::detail {
namespace {

struct Identity {
  const c10::StorageImpl* storage;
  const void* data;
  std::vector<std::int64_t> sizes;
  std::vector<std::int64_t> strides;
  at::ScalarType type;
  std::int64_t version;

  explicit Identity(const at::Tensor& tensor)
      : storage(tensor.storage().unsafeGetStorageImpl()),
        data(tensor.const_data_ptr()),
        sizes(tensor.sizes().vec()),
        strides(tensor.strides().vec()),
        type(tensor.scalar_type()),
        version(tensor._version()) {}
  auto operator<=>(const Identity&) const = default;
};

// What is packed, and by whom it is held.
class Packs : public std::enable_shared_from_this<Packs> {
 public:
  explicit Packs(PackSaved pack) : pack_(std::move(pack)) {}

  UnpackSaved operator()(const at::Tensor& tensor) {
    if (!tensor.has_storage()) {
      return pack_(tensor);
    }
    const Identity identity(tensor);
    std::shared_ptr<const UnpackSaved> packed = find(identity);
    if (!packed) {
      packed = add(identity, tensor);
    }
    return [packed] { return (*packed)(); };
  }

 private:
  struct Entry {
    c10::weak_intrusive_ptr<c10::StorageImpl> storage;  // none other takes its address meanwhile
    std::weak_ptr<const UnpackSaved> packed;
  };

  std::shared_ptr<const UnpackSaved> find(const Identity& identity) {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(identity);
    return found == entries_.end() ? nullptr : found->second.packed.lock();
  }

  std::shared_ptr<const UnpackSaved> add(const Identity& identity, const at::Tensor& tensor) {
    const auto forget = [packs = weak_from_this(), identity](const UnpackSaved* held) {
      delete held;
      if (const std::shared_ptr<Packs> self = packs.lock()) {
        self->forget(identity);
      }
    };
    const std::shared_ptr<const UnpackSaved> packed(new UnpackSaved(pack_(tensor)), forget);
    const std::lock_guard lock(mutex_);
    entries_.insert_or_assign(identity, Entry{tensor.storage().getWeakStorageImpl(), packed});
    return packed;
  }

  void forget(const Identity& identity) {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(identity);
    if (found != entries_.end() && found->second.packed.expired()) {
      entries_.erase(found);
    }
  }

  PackSaved pack_;
  std::mutex mutex_;
  std::map<Identity, Entry> entries_;
};

}  // namespace

PackSaved packed_once(PackSaved pack) {
  return [packs = std::make_shared<Packs>(std::move(pack))](const at::Tensor& tensor) { return (*packs)(tensor); };
}

}  // namespace gradwise::detail
