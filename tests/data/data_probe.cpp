// Reads a data file and writes what it found as safetensors, for test_formats.py:
//   data_probe IN.{npy,npz,safetensors,idx,csv} OUT.safetensors [label column of a CSV]
#include <cstdio>
#include <filesystem>
#include <string>

#include "gradwise/core/error.h"
#include "gradwise/data/csv.h"
#include "gradwise/data/idx.h"
#include "gradwise/data/npy.h"
#include "gradwise/data/npz.h"
#include "gradwise/data/safetensors.h"

namespace {

gradwise::SafeTensors read_table(const std::filesystem::path& path, const std::string& label) {
  gradwise::CsvOptions options;
  options.label = label;
  options.dtype = "float64";
  options.missing = "mean";
  const gradwise::Dataset dataset = gradwise::read_csv(path, options);
  gradwise::SafeTensors result;
  result.tensors = {{"inputs", dataset.inputs}, {"targets", dataset.targets}};
  for (std::size_t i = 0; i < dataset.feature_names.size(); ++i) {
    result.metadata["feature " + std::to_string(i)] = dataset.feature_names[i];
  }
  for (std::size_t i = 0; i < dataset.class_names.size(); ++i) {
    result.metadata["class " + std::to_string(i)] = dataset.class_names[i];
  }
  return result;
}

gradwise::SafeTensors read(const std::filesystem::path& path, const std::string& label) {
  const std::string kind = path.extension().string();
  if (kind == ".safetensors") {
    return gradwise::read_safetensors(path);
  }
  if (kind == ".csv") {
    return read_table(path, label);
  }
  gradwise::SafeTensors result;
  if (kind == ".npz") {
    result.tensors = gradwise::read_npz(path);
  } else {
    result.tensors["array"] = kind == ".npy" ? gradwise::read_npy(path) : gradwise::read_idx(path);
  }
  return result;
}

}  // namespace

int main(int count, char** words) {
  if (count < 3) {
    std::fputs("usage: data_probe IN OUT.safetensors [label]\n", stderr);
    return 2;
  }
  try {
    const gradwise::SafeTensors found = read(words[1], count > 3 ? words[3] : "");
    gradwise::write_safetensors(words[2], found.tensors, found.metadata);
  } catch (const gradwise::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
