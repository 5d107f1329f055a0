#include "gradwise/data/npz.h"

#include <zip.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>

#include "gradwise/core/error.h"
#include "gradwise/data/byte_reader.h"
#include "gradwise/data/npy.h"

namespace gradwise {
namespace {

constexpr const char* kNpzPlace = "npz";

struct DiscardArchive {
  void operator()(zip_t* archive) const { zip_discard(archive); }
};
struct CloseMember {
  void operator()(zip_file_t* member) const { zip_fclose(member); }
};
using Archive = std::unique_ptr<zip_t, DiscardArchive>;

Archive open_archive(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) {
    fail(kNpzPlace, "there is no file ", path.string());
  }
  int code = 0;
  Archive archive(zip_open(path.c_str(), ZIP_RDONLY, &code));
  if (!archive) {
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    const std::string reason = zip_error_strerror(&error);
    zip_error_fini(&error);
    fail(kNpzPlace, "can't open ", path.string(), " as a zip archive: ", reason);
  }
  return archive;
}

class MemberReader : public ByteReader {
 public:
  MemberReader(zip_t* archive, zip_uint64_t index, std::uint64_t bytes, std::string name)
      : bytes_(bytes), name_(std::move(name)), member_(zip_fopen_index(archive, index, 0)) {
    if (!member_) {
      fail(kNpzPlace, "can't open ", name_, ": ", zip_strerror(archive));
    }
  }

  std::size_t read(void* to, std::size_t bytes) override {
    std::size_t done = 0;
    while (done < bytes) {
      const zip_int64_t count = zip_fread(member_.get(), static_cast<char*>(to) + done, bytes - done);
      if (count < 0) {
        fail(kNpzPlace, "can't read ", name_, ": ", zip_file_strerror(member_.get()));
      }
      if (count == 0) {
        break;
      }
      done += static_cast<std::size_t>(count);
    }
    return done;
  }

  [[nodiscard]] std::uint64_t most_bytes() const override { return bytes_; }
  [[nodiscard]] const std::string& name() const override { return name_; }

 private:
  std::uint64_t bytes_;
  std::string name_;
  std::unique_ptr<zip_file_t, CloseMember> member_;
};

}  // namespace

std::map<std::string, at::Tensor> read_npz(const std::filesystem::path& path) {
  const Archive archive = open_archive(path);
  std::map<std::string, at::Tensor> arrays;
  // The directory may lie about a member's size; deflate makes data at most 1032 times smaller.
  const std::uint64_t most_inflated = std::filesystem::file_size(path) * 1032;
  const zip_int64_t members = zip_get_num_entries(archive.get(), 0);
  for (zip_int64_t i = 0; i < members; ++i) {
    const zip_uint64_t index = static_cast<zip_uint64_t>(i);
    zip_stat_t about;
    zip_stat_init(&about);
    if (zip_stat_index(archive.get(), index, 0, &about) != 0 || (about.valid & ZIP_STAT_SIZE) == 0) {
      fail(kNpzPlace, "can't read the directory of ", path.string(), ": ", zip_strerror(archive.get()));
    }
    std::string name = about.name;
    const std::uint64_t most = std::min<std::uint64_t>(about.size, most_inflated);
    MemberReader reader(archive.get(), index, most, path.string() + ":" + name);
    if (name.ends_with(".npy")) {
      name.resize(name.size() - 4);
    }
    if (!arrays.emplace(name, read_npy(reader)).second) {
      fail(kNpzPlace, path.string(), " holds two arrays named \"", name, "\"");
    }
  }
  return arrays;
}

}  // namespace gradwise
