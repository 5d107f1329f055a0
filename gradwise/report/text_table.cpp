#include "gradwise/report/text_table.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <sstream>

namespace gradwise {
namespace {

using Rows = std::vector<std::vector<std::string>>;

bool is_number(const std::string& cell) {
  return !cell.empty() && cell.find_first_not_of("0123456789.+-e:%") == std::string::npos;
}

// Whether what stands under the header of a column are numbers; "-" stands for a missing one.
bool is_number_column(const Rows& rows, std::size_t column) {
  bool any = false;
  for (std::size_t r = 1; r < rows.size(); ++r) {
    if (column >= rows[r].size() || rows[r][column] == "-") {
      continue;
    }
    if (!is_number(rows[r][column])) {
      return false;
    }
    any = true;
  }
  return any;
}

std::vector<std::size_t> column_widths(const Rows& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t c = 0; c < row.size(); ++c) {
      widths[c] = std::max(widths[c], row[c].size());
    }
  }
  return widths;
}

}  // namespace

std::string text_table(const Rows& rows) {
  const std::vector<std::size_t> widths = column_widths(rows);
  std::vector<bool> right;
  for (std::size_t c = 0; c < widths.size(); ++c) {
    right.push_back(is_number_column(rows, c));
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t c = 0; c < row.size(); ++c) {
      const std::string pad(widths[c] - row[c].size(), ' ');
      line += (c == 0 ? "  " : "   ") + (right[c] ? pad + row[c] : row[c] + pad);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  return text;
}

std::string text_pairs(const std::vector<std::pair<std::string, std::string>>& pairs) {
  std::size_t width = 0;
  for (const auto& [name, value] : pairs) {
    width = std::max(width, name.size());
  }
  std::string text;
  for (const auto& [name, value] : pairs) {
    std::string lines = wrapped(value, width + 5);
    lines.replace(2, name.size(), name);  // into the first line's indent
    text += lines;
  }
  return text;
}

std::string wrapped(const std::string& text, std::size_t indent) {
  std::istringstream words(text);
  std::string lines;
  std::string line(indent, ' ');
  for (std::string word; words >> word;) {
    const bool empty = line.size() == indent;
    if (!empty && line.size() + 1 + word.size() > kReportWidth) {
      lines += line + '\n';
      line = std::string(indent, ' ') + word;
    } else {
      line += (empty ? "" : " ") + word;
    }
  }
  return lines + line + '\n';
}

std::string time_text(double seconds_since_epoch) {
  if (seconds_since_epoch == 0) {
    return "-";
  }
  const auto whole = static_cast<std::time_t>(seconds_since_epoch);
  std::tm local{};
  ::localtime_r(&whole, &local);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &local);
  return text;
}

std::string number_text(double value, int digits) {
  if (std::isnan(value)) {
    return "-";
  }
  char text[48];
  std::snprintf(text, sizeof(text), "%.*g", digits, value);
  return text;
}

}  // namespace gradwise
