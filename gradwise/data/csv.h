#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "gradwise/core/fields.h"
#include "gradwise/data/dataset.h"

namespace gradwise {

struct CsvOptions {
  std::string delimiter = ",";
  bool header = true;
  std::string label = {};
  std::string label_kind = "auto";
  std::vector<std::string> ignore = {};
  std::string missing = "error";
  std::string dtype = "float32";
};

template <class Fields>
void describe(Fields& fields, CsvOptions& o) {
  fields.add("delimiter", o.delimiter, "the character between cells", anything());
  fields.add("header", o.header, "the first row holds the names of the columns", anything());
  fields.add("label", o.label,
             "column of the targets: its name, or its number from 0 (from -1 at the end); empty for none", anything());
  fields.add("label_kind", o.label_kind,
             "class: each distinct value is a class; number: a figure to predict; auto: class where there is text",
             one_of({"auto", "class", "number"}));
  fields.add("ignore", o.ignore, "columns that are left out, by name or number", anything());
  fields.add("missing", o.missing, "what to do with an empty, NA, N/A, NaN or null cell among the inputs",
             one_of({"error", "mean", "zero", "drop_row"}));
  fields.add("dtype", o.dtype, "type of inputs and of targets that are numbers", one_of({"float32", "float64"}));
}

/// Reads a table of numbers, plain or gzip: inputs (N, F), and from the label column targets (N), int64 class indices
/// or numbers. Classes are in the order of their value where all are numbers, else of their text; `class_names` and
/// `feature_names` tell them. Empty lines are passed over.
///
///   const Dataset iris = read_csv("iris.csv", {.label = "species"});
///
/// Errors name row (of data, from 1), column and cell: text in a number column, a row that is too long or too short,
/// a missing cell (always, in the label column, unless the row is dropped); an empty file; an unknown column.
[[nodiscard]] Dataset read_csv(const std::filesystem::path& path, const CsvOptions& options = {});

/// Another file of the same table, as test data: classes have the numbers that they have in `training`, and with
/// `missing` = "mean" its means are taken. Errors: a class that it does not have (row named), other columns.
[[nodiscard]] Dataset read_csv_like(const Dataset& training, const std::filesystem::path& path,
                                    const CsvOptions& options = {});

}  // namespace gradwise
