#include "gradwise/data/csv.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string_view>

#include "gradwise/core/error.h"
#include "gradwise/core/nearest_name.h"
#include "gradwise/data/byte_reader.h"
#include "gradwise/data/csv_rows.h"
#include "gradwise/data/new_tensor.h"

namespace gradwise {
namespace {

constexpr const char* kCsvPlace = "csv";
constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();

bool is_missing(std::string_view cell) {
  static constexpr std::array<std::string_view, 8> kWords = {"", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"};
  return std::ranges::find(kWords, cell) != kWords.end();
}

/// The finite number that the whole cell spells, as in "-1.5e3".
std::optional<double> parse_number(std::string_view cell) {
  if (cell.starts_with('+')) {
    cell.remove_prefix(1);
  }
  double value = 0;
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  const bool whole = error == std::errc() && end == cell.data() + cell.size();
  return whole && std::isfinite(value) ? std::optional<double>(value) : std::nullopt;
}

at::Tensor to_tensor(const std::vector<double>& values, at::IntArrayRef shape, const std::string& dtype) {
  at::Tensor tensor = new_tensor(shape, dtype == "float64" ? at::kDouble : at::kFloat);
  if (tensor.scalar_type() == at::kDouble) {
    std::ranges::copy(values, tensor.mutable_data_ptr<double>());
  } else {
    std::ranges::transform(values, tensor.mutable_data_ptr<float>(),
                           [](double value) { return static_cast<float>(value); });
  }
  return tensor;
}

/// Takes the rows one after the other, then makes the data set.
class Table {
 public:
  Table(std::string file, const CsvOptions& options, const Dataset* like)
      : file_(std::move(file)), options_(options), like_(like) {}

  void take(CsvRow& cells) {
    if (names_.empty()) {
      begin(cells);
      if (options_.header) {
        return;
      }
    }
    ++row_;
    if (cells.size() != names_.size()) {
      fail(kCsvPlace, file_, ": row ", row_, " has ", cells.size(), " cells, allowed: ", names_.size(),
           ", as in the first row");
    }
    add(cells);
  }

  Dataset finish() {
    if (names_.empty()) {
      fail(kCsvPlace, file_, " is empty");
    }
    if (rows_ == 0) {
      fail(kCsvPlace, file_, row_ == 0 ? " has no row of data" : " has no row without a missing cell");
    }
    if (options_.missing == "mean") {
      fill_means();
    }
    Dataset dataset;
    const auto columns = static_cast<std::int64_t>(features_.size());
    dataset.inputs = to_tensor(values_, {rows_, columns}, options_.dtype);
    for (const std::size_t column : features_) {
      dataset.feature_names.push_back(names_[column]);
    }
    GRADWISE_CHECK(like_ == nullptr || dataset.feature_names == like_->feature_names, kCsvPlace, file_,
                   " has other columns than the training data");
    if (label_) {
      set_targets(dataset);
    }
    return dataset;
  }

 private:
  void begin(const CsvRow& first) {
    for (std::size_t i = 0; i < first.size(); ++i) {
      names_.push_back(options_.header ? first[i] : std::to_string(i));
    }
    const std::set<std::string> distinct(names_.begin(), names_.end());
    GRADWISE_CHECK(distinct.size() == names_.size(), kCsvPlace, file_, " has two columns of the same name");
    if (!options_.label.empty()) {
      label_ = find_column(options_.label);
    }
    std::vector<std::size_t> left_out;
    for (const std::string& name : options_.ignore) {
      left_out.push_back(find_column(name));
    }
    for (std::size_t i = 0; i < names_.size(); ++i) {
      if (i != label_ && std::ranges::find(left_out, i) == left_out.end()) {
        features_.push_back(i);
      }
    }
    GRADWISE_CHECK(!features_.empty(), kCsvPlace, file_, " has no column left for the inputs");
  }

  [[nodiscard]] std::size_t find_column(const std::string& wanted) const {
    if (const auto found = std::ranges::find(names_, wanted); found != names_.end()) {
      return static_cast<std::size_t>(found - names_.begin());
    }
    const auto count = static_cast<std::int64_t>(names_.size());
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(wanted.data(), wanted.data() + wanted.size(), number);
    const bool is_number = error == std::errc() && end == wanted.data() + wanted.size();
    GRADWISE_CHECK(is_number && number >= -count && number < count, kCsvPlace, file_, " has no column \"", wanted,
                   "\" among ", count, did_you_mean(wanted, names_));
    return static_cast<std::size_t>(number < 0 ? number + count : number);
  }

  [[noreturn]] void refuse(std::size_t column, const std::string& cell, const char* why) const {
    fail(kCsvPlace, file_, ": row ", row_, ", column \"", names_[column], "\": the cell \"", cell, "\" ", why);
  }

  void add(const CsvRow& cells) {
    const std::size_t before = values_.size();
    bool incomplete = label_ && is_missing(cells[*label_]);
    if (incomplete && options_.missing != "drop_row") {
      refuse(*label_, cells[*label_], "is missing");
    }
    for (const std::size_t column : features_) {
      const double value = number(column, cells[column]);
      incomplete = incomplete || std::isnan(value);
      values_.push_back(std::isnan(value) && options_.missing == "zero" ? 0 : value);
    }
    if (incomplete && options_.missing == "drop_row") {
      values_.resize(before);
      return;
    }
    if (label_) {
      labels_.push_back(cells[*label_]);
      label_rows_.push_back(row_);
    }
    ++rows_;
  }

  [[nodiscard]] double number(std::size_t column, const std::string& cell) const {
    if (is_missing(cell)) {
      if (options_.missing == "error") {
        refuse(column, cell, "is missing, and `missing` is error");
      }
      return kMissing;
    }
    const std::optional<double> value = parse_number(cell);
    if (!value) {
      refuse(column, cell, "is not a number");
    }
    return *value;
  }

  void fill_means() {
    for (std::size_t f = 0; f < features_.size(); ++f) {
      const double mean =
          like_ != nullptr ? like_->inputs.select(1, static_cast<std::int64_t>(f)).mean().item<double>() : mean_of(f);
      for (std::size_t i = f; i < values_.size(); i += features_.size()) {
        if (std::isnan(values_[i])) {
          values_[i] = mean;
        }
      }
    }
  }

  [[nodiscard]] double mean_of(std::size_t feature) const {
    double sum = 0;
    std::int64_t count = 0;
    for (std::size_t i = feature; i < values_.size(); i += features_.size()) {
      if (!std::isnan(values_[i])) {
        sum += values_[i];
        ++count;
      }
    }
    if (count == 0) {
      fail(kCsvPlace, file_, ": column \"", names_[features_[feature]], "\" has no number to take the mean of");
    }
    return sum / static_cast<double>(count);
  }

  void set_targets(Dataset& dataset) {
    if (like_ != nullptr && !like_->class_names.empty()) {
      set_known_classes(dataset);
      return;
    }
    std::vector<double> numbers;
    std::optional<std::size_t> first_text;
    for (std::size_t i = 0; i < labels_.size(); ++i) {
      const std::optional<double> value = parse_number(labels_[i]);
      if (!value && !first_text) {
        first_text = i;
      }
      numbers.push_back(value.value_or(0));
    }
    if (first_text && options_.label_kind == "number") {
      row_ = label_rows_[*first_text];
      refuse(*label_, labels_[*first_text], "is not a number, and `label_kind` is number");
    }
    if (options_.label_kind == "class" || first_text) {
      set_classes(dataset, /*by_value=*/!first_text);
    } else {
      dataset.targets = to_tensor(numbers, {rows_}, options_.dtype);
    }
  }

  void set_known_classes(Dataset& dataset) {
    dataset.class_names = like_->class_names;
    dataset.targets = new_tensor({rows_}, at::kLong);
    std::int64_t* targets = dataset.targets.mutable_data_ptr<std::int64_t>();
    for (std::size_t i = 0; i < labels_.size(); ++i) {
      const auto found = std::ranges::find(dataset.class_names, labels_[i]);
      if (found == dataset.class_names.end()) {
        row_ = label_rows_[i];
        refuse(*label_, labels_[i], "is no class of the training data");
      }
      targets[i] = found - dataset.class_names.begin();
    }
  }

  void set_classes(Dataset& dataset, bool by_value) const {
    const auto less = [by_value](const std::string& a, const std::string& b) {
      return by_value ? parse_number(a).value_or(0) < parse_number(b).value_or(0) : a < b;
    };
    std::map<std::string, std::int64_t, decltype(less)> classes(less);
    for (const std::string& label : labels_) {
      classes.emplace(label, 0);
    }
    std::int64_t index = 0;
    for (auto& [name, number] : classes) {
      number = index++;
      dataset.class_names.push_back(name);
    }
    dataset.targets = new_tensor({rows_}, at::kLong);
    std::ranges::transform(labels_, dataset.targets.mutable_data_ptr<std::int64_t>(),
                           [&classes](const std::string& label) { return classes.at(label); });
  }

  std::string file_;
  const CsvOptions& options_;
  const Dataset* like_;  // the training data, where this is another file of the same table
  std::vector<std::string> names_;
  std::vector<std::size_t> features_;  // columns that are inputs
  std::optional<std::size_t> label_;
  std::int64_t row_ = 0;        // of data, as read
  std::int64_t rows_ = 0;       // kept
  std::vector<double> values_;  // row by row
  std::vector<std::string> labels_;
  std::vector<std::int64_t> label_rows_;
};

Dataset read_table(const std::filesystem::path& path, const CsvOptions& options, const Dataset* like) {
  check_fields(kCsvPlace, options);
  const bool plain = options.delimiter.size() == 1 && options.delimiter.find_first_of("\"\r\n") == std::string::npos;
  GRADWISE_CHECK(plain, kCsvPlace, "delimiter is \"", options.delimiter,
                 "\", allowed: one character, no quote and no line break");
  const std::unique_ptr<ByteReader> file = open_file(kCsvPlace, path);
  Table table(file->name(), options, like);
  for_each_csv_row(*file, options.delimiter[0], [&table](CsvRow& cells) { table.take(cells); });
  return table.finish();
}

}  // namespace

Dataset read_csv(const std::filesystem::path& path, const CsvOptions& options) {
  return read_table(path, options, nullptr);
}

Dataset read_csv_like(const Dataset& training, const std::filesystem::path& path, const CsvOptions& options) {
  return read_table(path, options, &training);
}

}  // namespace gradwise
