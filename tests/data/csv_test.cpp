#include "gradwise/data/csv.h"

#include <gtest/gtest.h>

#include <cmath>

#include "error_of.h"
#include "temporary_folder.h"
#include "tensor_of.h"

namespace gradwise {
namespace {

using Names = std::vector<std::string>;

struct Good {
  const char* what;
  std::string text;
  CsvOptions options;
  Names features;
  std::vector<float> inputs;
  Names classes;                // then targets are class indices
  std::vector<double> targets;  // empty for none
};

std::vector<Good> good_files() {
  return {
      {"plain", "a,b\n1,2\n3,4\n", {}, {"a", "b"}, {1, 2, 3, 4}, {}, {}},
      {"no header", "1,2\n3,4\n", {.header = false}, {"0", "1"}, {1, 2, 3, 4}, {}, {}},
      {"no line break at the end", "a,b\r\n1,2\r\n3,4", {}, {"a", "b"}, {1, 2, 3, 4}, {}, {}},
      {"byte order mark",
       "\xef\xbb\xbf"
       "a,b\n1,2\n",
       {},
       {"a", "b"},
       {1, 2},
       {},
       {}},
      {"quotes", "\"a, \"\"x\"\"\nb\",c\n\"1\", 2 \n", {}, {"a, \"x\"\nb", "c"}, {1, 2}, {}, {}},
      {"spellings", "a\n+1.5\n-2e3\n.25\n1E-2\n", {}, {"a"}, {1.5F, -2000, 0.25F, 0.01F}, {}, {}},
      {"empty lines", "a\n\n1\n\n\n2\n\n", {}, {"a"}, {1, 2}, {}, {}},
      {"semicolons", "a;b\n1;2\n", {.delimiter = ";"}, {"a", "b"}, {1, 2}, {}, {}},
      {"tabs", "a\tb\n1\t2\n", {.delimiter = "\t"}, {"a", "b"}, {1, 2}, {}, {}},
      {"ignored columns", "id,a,name\nx,1,y\n", {.ignore = {"id", "-1"}}, {"a"}, {1}, {}, {}},
      {"number label by name", "a,y\n1,0.5\n2,7\n", {.label = "y"}, {"a"}, {1, 2}, {}, {0.5, 7}},
      {"label by number", "y,a\n5,1\n6,2\n", {.label = "0"}, {"a"}, {1, 2}, {}, {5, 6}},
      {"label from the end", "1,5\n2,6\n", {.header = false, .label = "-1"}, {"0"}, {1, 2}, {}, {5, 6}},
      {"classes by text", "a,y\n1,no\n2,yes\n3,no\n", {.label = "y"}, {"a"}, {1, 2, 3}, {"no", "yes"}, {0, 1, 0}},
      {"classes by value",
       "a,y\n1,10\n2,9\n3,10\n",
       {.label = "y", .label_kind = "class"},
       {"a"},
       {1, 2, 3},
       {"9", "10"},
       {1, 0, 1}},
      {"missing is zero", "a,b\n,NA\n1,2\n", {.missing = "zero"}, {"a", "b"}, {0, 0, 1, 2}, {}, {}},
      {"missing is the mean", "a,b\n,1\n1,NaN\n3,5\n", {.missing = "mean"}, {"a", "b"}, {2, 1, 1, 3, 3, 5}, {}, {}},
      {"missing drops the row", "a,y\n,1\n2,\n3,4\n", {.label = "y", .missing = "drop_row"}, {"a"}, {3}, {}, {4}},
  };
}

TEST(Csv, ReadsTables) {
  const TemporaryFolder folder;
  for (const Good& good : good_files()) {
    SCOPED_TRACE(good.what);
    const Dataset dataset = read_csv(folder.write("table.csv", good.text), good.options);
    const auto columns = static_cast<std::int64_t>(good.features.size());
    const auto rows = static_cast<std::int64_t>(good.inputs.size()) / columns;
    EXPECT_EQ(dataset.feature_names, good.features);
    EXPECT_EQ(dataset.inputs.sizes(), (std::vector<std::int64_t>{rows, columns}));
    EXPECT_EQ(values_of<float>(dataset.inputs), good.inputs);
    EXPECT_EQ(dataset.class_names, good.classes);
    ASSERT_EQ(dataset.targets.defined(), !good.targets.empty());
    if (!good.targets.empty()) {
      EXPECT_EQ(dataset.targets.scalar_type(), good.classes.empty() ? at::kFloat : at::kLong);
      EXPECT_EQ(values_of<double>(dataset.targets.to(at::kDouble)), good.targets);
    }
  }
}

TEST(Csv, KeepsDoublesWhereAsked) {
  const TemporaryFolder folder;
  const auto path = folder.write("table.csv", "a,y\n0.1,0.2\n");
  const Dataset dataset = read_csv(path, {.label = "y", .dtype = "float64"});
  EXPECT_EQ(values_of<double>(dataset.inputs), std::vector<double>{0.1});
  EXPECT_EQ(values_of<double>(dataset.targets), std::vector<double>{0.2});
}

struct Bad {
  const char* what;
  std::string text;
  CsvOptions options;
  const char* message;
};

TEST(CsvLike, KeepsTheTrainingsClassesAndMeans) {
  const TemporaryFolder folder;
  const CsvOptions options{.label = "y", .missing = "mean"};
  const Dataset train = read_csv(folder.write("train.csv", "a,y\n1,cat\n3,dog\n,owl\n"), options);
  const Dataset test = read_csv_like(train, folder.write("test.csv", "a,y\n10,owl\n,dog\n"), options);
  EXPECT_EQ(test.class_names, (Names{"cat", "dog", "owl"}));
  EXPECT_TRUE(test.targets.equal(tensor_of<std::int64_t>({2, 1}, {2})));
  EXPECT_TRUE(test.inputs.equal(tensor_of<float>({10, 2}, {2, 1})));
  EXPECT_ERROR_WITH("row 2, column \"y\": the cell \"cow\" is no class of the training data",
                    read_csv_like(train, folder.write("bad.csv", "a,y\n1,dog\n1,cow\n"), options));
  EXPECT_ERROR_WITH("has other columns than the training data",
                    read_csv_like(train, folder.write("other.csv", "b,y\n1,dog\n"), options));
}

TEST(Csv, RefusesBadTables) {
  const TemporaryFolder folder;
  const std::vector<Bad> table = {
      {"text cell", "a,b\n1,2\n3,abc\n", {}, "row 2, column \"b\": the cell \"abc\" is not a number"},
      {"half a number", "a\n1x\n", {}, "row 1, column \"a\": the cell \"1x\""},
      {"infinity", "a\ninf\n", {}, "\"inf\" is not a number"},
      {"missing cell", "a,b\n1,\n", {}, "row 1, column \"b\": the cell \"\" is missing"},
      {"missing label", "a,y\n1,2\n2,NA\n", {.label = "y", .missing = "zero"}, "row 2, column \"y\""},
      {"text label", "a,y\n1,2\n2,x\n", {.label = "y", .label_kind = "number"}, "row 2, column \"y\": the cell \"x\""},
      {"long row", "a,b\n1,2\n1,2,3\n", {}, "row 2 has 3 cells, allowed: 2"},
      {"short row", "a,b\n1\n", {}, "row 1 has 1 cells, allowed: 2"},
      {"empty file", "", {}, "is empty"},
      {"only a header", "a,b\n", {}, "has no row of data"},
      {"nothing left", "a\nNA\n", {.missing = "drop_row"}, "no row without a missing cell"},
      {"no mean", "a,b\n1,\n2,\n", {.missing = "mean"}, "column \"b\" has no number"},
      {"open quote", "a,b\n\"1,2\n", {}, "quotes do not pair up"},
      {"quote in a cell", "a,b\n1,2\n\"3\"x,4\n", {}, "quotes do not pair up after row 2"},
      {"unknown label", "age,y\n1,2\n", {.label = "agee"}, "did you mean \"age\"?"},
      {"label beyond", "a,y\n1,2\n", {.label = "2"}, "has no column \"2\""},
      {"no inputs", "y\n1\n", {.label = "y"}, "no column left"},
      {"delimiter", "a\n1\n", {.delimiter = "ab"}, "delimiter is \"ab\""},
      {"policy", "a\n1\n", {.missing = "guess"}, "missing is \"guess\", allowed: error, mean, zero, drop_row"},
  };
  for (const Bad& bad : table) {
    SCOPED_TRACE(bad.what);
    const auto path = folder.write("bad.csv", bad.text);
    EXPECT_ERROR_WITH(bad.message, read_csv(path, bad.options));
  }
  EXPECT_ERROR_WITH("there is no file", read_csv(folder / "missing.csv"));
}

}  // namespace
}  // namespace gradwise
