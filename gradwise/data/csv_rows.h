#pragma once

#include <functional>
#include <string>
#include <vector>

namespace gradwise {

class ByteReader;

using CsvRow = std::vector<std::string>;

/// Calls `take` with the cells of each row of a CSV file (RFC 4180: quotes, quotes within quotes, line breaks within
/// quotes). Blanks around cells without quotes, a byte order mark and empty lines are passed over. Errors: quotes that
/// do not pair up; what `take` throws comes through.
void for_each_csv_row(ByteReader& file, char delimiter, const std::function<void(CsvRow&)>& take);

}  // namespace gradwise
