#include "gradwise/data/safetensors_header.h"

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <tuple>

#include "gradwise/core/error.h"
#include "gradwise/data/array_bytes.h"

namespace gradwise {
namespace {

using nlohmann::json;

constexpr const char* kSafetensorsHeaderPlace = "safetensors";
constexpr const char* kMetadata = "__metadata__";

struct Dtype {
  std::string_view name;
  at::ScalarType type;
};

// In the order in which the reference lays tensors out.
constexpr std::array<Dtype, 19> kDtypes = {{{"U64", at::ScalarType::UInt64},
                                            {"I64", at::ScalarType::Long},
                                            {"F64", at::ScalarType::Double},
                                            {"C64", at::ScalarType::ComplexFloat},
                                            {"F32", at::ScalarType::Float},
                                            {"U32", at::ScalarType::UInt32},
                                            {"I32", at::ScalarType::Int},
                                            {"BF16", at::ScalarType::BFloat16},
                                            {"F16", at::ScalarType::Half},
                                            {"U16", at::ScalarType::UInt16},
                                            {"I16", at::ScalarType::Short},
                                            {"F8_E5M2FNUZ", at::ScalarType::Float8_e5m2fnuz},
                                            {"F8_E4M3FNUZ", at::ScalarType::Float8_e4m3fnuz},
                                            {"F8_E8M0", at::ScalarType::Float8_e8m0fnu},
                                            {"F8_E4M3", at::ScalarType::Float8_e4m3fn},
                                            {"F8_E5M2", at::ScalarType::Float8_e5m2},
                                            {"I8", at::ScalarType::Char},
                                            {"U8", at::ScalarType::Byte},
                                            {"BOOL", at::ScalarType::Bool}}};

/// Position in kDtypes; throws for a type that is not there.
std::size_t rank_of(const SafeTensorsEntry& entry) {
  const auto found = std::ranges::find(kDtypes, entry.dtype, &Dtype::type);
  GRADWISE_CHECK(found != kDtypes.end(), kSafetensorsHeaderPlace, "tensor \"", entry.name, "\" has type ", entry.dtype,
                 ", which the format does not know");
  return static_cast<std::size_t>(found - kDtypes.begin());
}

/// JSON text to a value; a key that stands twice in one object is an error, as in the reference.
json parse_strictly(std::string_view text, const std::string& file) {
  std::vector<std::set<std::string>> keys;  // of the open object at each depth
  std::string twice;
  const auto watch = [&keys, &twice](int depth, json::parse_event_t event, json& parsed) {
    const std::size_t level = static_cast<std::size_t>(depth);
    if (event == json::parse_event_t::object_start) {
      keys.resize(level + 1);
      keys.emplace_back();
    } else if (event == json::parse_event_t::key) {
      if (!keys.at(level).insert(parsed.get<std::string>()).second) {
        twice = parsed.get<std::string>();
      }
    }
    return true;
  };
  json header;
  try {
    header = json::parse(text.begin(), text.end(), watch);
  } catch (const json::exception& error) {
    fail(kSafetensorsHeaderPlace, file, " has a header that is not JSON: ", error.what());
  }
  if (!twice.empty()) {
    fail(kSafetensorsHeaderPlace, file, " has the name \"", twice, "\" twice in its header");
  }
  return header;
}

class HeaderCheck {
 public:
  explicit HeaderCheck(const std::string& file) : file_(file) {}

  [[nodiscard]] SafeTensorsEntry entry(const std::string& name, const json& about) const {
    const bool complete = about.is_object() && about.contains("dtype") && about["dtype"].is_string() &&
                          about.contains("shape") && about["shape"].is_array() && about.contains("data_offsets") &&
                          about["data_offsets"].is_array() && about["data_offsets"].size() == 2;
    if (!complete) {
      refuse(name, "needs dtype, shape and data_offsets (two numbers)");
    }
    SafeTensorsEntry entry;
    entry.name = name;
    entry.dtype = dtype(name, about["dtype"].get<std::string>());
    for (const json& length : about["shape"]) {
      entry.shape.push_back(static_cast<std::int64_t>(whole(name, length)));
    }
    entry.begin = whole(name, about["data_offsets"][0]);
    entry.end = whole(name, about["data_offsets"][1]);
    check_size(entry);
    return entry;
  }

  /// `entries` in the order of their data: without holes and overlaps, up to the end of the file.
  void check_order(const std::vector<SafeTensorsEntry>& entries, std::uint64_t data_bytes) const {
    std::uint64_t end = 0;
    for (const SafeTensorsEntry& entry : entries) {
      if (entry.begin != end) {
        refuse(entry.name, "has data from byte ", entry.begin, ", the data before it end at ", end,
               entry.begin < end ? ": they overlap" : ": there is a hole");
      }
      end = entry.end;
      if (end > data_bytes) {
        refuse(entry.name, "has data up to byte ", end, ", the file holds ", data_bytes, " after its header");
      }
    }
    if (end != data_bytes) {
      fail(kSafetensorsHeaderPlace, file_, " holds ", data_bytes, " bytes after its header, its tensors take ", end);
    }
  }

  [[nodiscard]] std::map<std::string, std::string> metadata(const json& words) const {
    if (!words.is_object()) {
      fail(kSafetensorsHeaderPlace, file_, " has a ", kMetadata, " that is not an object");
    }
    std::map<std::string, std::string> metadata;
    for (const auto& [key, word] : words.items()) {
      if (!word.is_string()) {
        fail(kSafetensorsHeaderPlace, file_, " has ", kMetadata, " \"", key, "\" = ", word.dump(), ", allowed: text");
      }
      metadata[key] = word.get<std::string>();
    }
    return metadata;
  }

 private:
  template <class... Parts>
  [[noreturn]] void refuse(const std::string& name, const Parts&... parts) const {
    fail(kSafetensorsHeaderPlace, file_, ": tensor \"", name, "\" ", parts...);
  }

  [[nodiscard]] at::ScalarType dtype(const std::string& name, const std::string& word) const {
    const auto found = std::ranges::find(kDtypes, std::string_view(word), &Dtype::name);
    if (found == kDtypes.end()) {
      refuse(name, "has the unknown dtype \"", word, "\"");
    }
    return found->type;
  }

  [[nodiscard]] std::uint64_t whole(const std::string& name, const json& number) const {
    constexpr std::uint64_t kLargest = std::numeric_limits<std::int64_t>::max();
    if (!number.is_number_unsigned() || number.get<std::uint64_t>() > kLargest) {
      refuse(name, "has ", number.dump(), " in its shape or data_offsets, allowed: whole numbers from 0");
    }
    return number.get<std::uint64_t>();
  }

  void check_size(const SafeTensorsEntry& entry) const {
    const std::optional<std::uint64_t> bytes = byte_size(entry.shape, c10::elementSize(entry.dtype));
    if (!bytes) {
      refuse(entry.name, "has shape ", at::IntArrayRef(entry.shape), ", too large to count");
    }
    if (entry.end < entry.begin || entry.end - entry.begin != *bytes) {
      refuse(entry.name, "has data_offsets ", entry.begin, " to ", entry.end, ", shape ", at::IntArrayRef(entry.shape),
             " of ", entry.dtype, " takes ", *bytes, " bytes");
    }
  }

  const std::string& file_;
};

}  // namespace

SafeTensorsHeader parse_safetensors_header(std::string_view text, std::uint64_t data_bytes, const std::string& file) {
  if (!text.starts_with('{')) {
    fail(kSafetensorsHeaderPlace, file, " has a header that does not start with {");
  }
  const json about = parse_strictly(text, file);
  const HeaderCheck check(file);
  SafeTensorsHeader header;
  for (const auto& [name, value] : about.items()) {
    if (name == kMetadata) {
      header.metadata = check.metadata(value);
    } else {
      header.entries.push_back(check.entry(name, value));
    }
  }
  std::ranges::sort(header.entries, {}, [](const SafeTensorsEntry& e) { return std::tuple(e.begin, e.end); });
  check.check_order(header.entries, data_bytes);
  return header;
}

void lay_out(std::vector<SafeTensorsEntry>& entries) {
  std::ranges::sort(entries, {}, [](const SafeTensorsEntry& e) { return std::tuple(rank_of(e), e.name); });
  std::uint64_t at = 0;
  for (SafeTensorsEntry& entry : entries) {
    entry.begin = at;
    at += byte_size(entry.shape, c10::elementSize(entry.dtype)).value_or(0);
    entry.end = at;
  }
}

std::string format_safetensors_header(const SafeTensorsHeader& header) {
  nlohmann::ordered_json about = nlohmann::ordered_json::object();
  if (!header.metadata.empty()) {
    about[kMetadata] = header.metadata;
  }
  std::string text;
  try {
    for (const SafeTensorsEntry& entry : header.entries) {
      nlohmann::ordered_json& tensor = about[entry.name];
      tensor["dtype"] = std::string(kDtypes[rank_of(entry)].name);
      tensor["shape"] = entry.shape;
      tensor["data_offsets"] = {entry.begin, entry.end};
    }
    text = about.dump();
  } catch (const nlohmann::json::exception& error) {
    fail_usage(kSafetensorsHeaderPlace, "a name can't be written: ", error.what());
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

}  // namespace gradwise
