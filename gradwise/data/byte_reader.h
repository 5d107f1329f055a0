#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace gradwise {

/// Gives the bytes of a file or of a member of an archive, one after the other.
class ByteReader {
 public:
  virtual ~ByteReader() = default;
  /// Reads up to `bytes` bytes into `to` and returns how many: fewer only at the end.
  virtual std::size_t read(void* to, std::size_t bytes) = 0;
  /// What the source can hold at most: keeps a header that lies from asking for all memory.
  [[nodiscard]] virtual std::uint64_t most_bytes() const = 0;
  /// For error messages.
  [[nodiscard]] virtual const std::string& name() const = 0;
};

/// Opens a file, plain or compressed by gzip (told by its first bytes, not by its name). `place` begins the error
/// messages: "[idx] ...". Errors: a file that is missing, a folder, no permission; gzip data that is cut off or
/// damaged.
[[nodiscard]] std::unique_ptr<ByteReader> open_file(const char* place, const std::filesystem::path& path);

/// Reads exactly `bytes` bytes; a source that ends earlier is an error that gives both lengths. `what` names what is
/// read, as in "the data".
void read_exactly(const char* place, ByteReader& reader, void* to, std::uint64_t bytes, const char* what);

/// A source that goes on after what its header announced is an error.
void expect_end(const char* place, ByteReader& reader);

/// The rest of a source.
[[nodiscard]] std::string read_rest(ByteReader& reader);

}  // namespace gradwise
