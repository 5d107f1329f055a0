#include "gradwise/data/csv_rows.h"

#include <csv.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <string_view>

#include "gradwise/core/error.h"
#include "gradwise/data/byte_reader.h"

namespace gradwise {
namespace {

/// What libcsv's callbacks work on. An exception must not pass through C code: it is kept and thrown afterwards.
struct Collector {
  const std::function<void(CsvRow&)>& take;
  CsvRow row;
  std::int64_t rows;
  std::exception_ptr error;
};

void take_cell(void* text, std::size_t length, void* data) {
  Collector& collector = *static_cast<Collector*>(data);
  if (collector.error) {
    return;
  }
  try {
    collector.row.emplace_back(length == 0 ? "" : static_cast<const char*>(text), length);
  } catch (...) {
    collector.error = std::current_exception();
  }
}

void take_row(int /*last_character*/, void* data) {
  Collector& collector = *static_cast<Collector*>(data);
  if (collector.error) {
    return;
  }
  try {
    ++collector.rows;
    collector.take(collector.row);
  } catch (...) {
    collector.error = std::current_exception();
  }
  collector.row.clear();
}

class Parser {
 public:
  explicit Parser(char delimiter) {
    if (csv_init(&parser_, CSV_STRICT | CSV_STRICT_FINI) != 0) {
      fail("csv", "the parser can't be set up");
    }
    csv_set_delim(&parser_, static_cast<unsigned char>(delimiter));
  }
  ~Parser() { csv_free(&parser_); }
  Parser(const Parser&) = delete;
  Parser& operator=(const Parser&) = delete;

  bool feed(std::string_view text, Collector& collector) {
    return csv_parse(&parser_, text.data(), text.size(), take_cell, take_row, &collector) == text.size();
  }
  bool finish(Collector& collector) { return csv_fini(&parser_, take_cell, take_row, &collector) == 0; }
  std::string reason() { return csv_strerror(csv_error(&parser_)); }

 private:
  csv_parser parser_;
};

}  // namespace

void for_each_csv_row(ByteReader& file, char delimiter, const std::function<void(CsvRow&)>& take) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  constexpr std::size_t kChunk = std::size_t{1} << 16;
  Parser parser(delimiter);
  Collector collector{take, {}, 0, nullptr};
  const auto check = [&file, &parser, &collector](bool fine) {
    if (collector.error) {
      std::rethrow_exception(collector.error);
    }
    if (!fine) {
      fail("csv", file.name(), ": quotes do not pair up after row ", collector.rows, " (", parser.reason(), ")");
    }
  };
  std::string chunk(kChunk, '\0');
  bool first = true;
  while (const std::size_t count = file.read(chunk.data(), kChunk)) {
    std::string_view text(chunk.data(), count);
    if (first && text.starts_with(kByteOrderMark)) {
      text.remove_prefix(kByteOrderMark.size());
    }
    first = false;
    check(parser.feed(text, collector));
  }
  check(parser.finish(collector));
}

}  // namespace gradwise
