#pragma once

#include <cstdint>
#include <vector>

#include "gradwise/core/fields.h"
#include "gradwise/data/dataset.h"
#include "gradwise/data/sample_store.h"

namespace gradwise {

/// What becomes of a stored value x of channel c: (x * scale - mean[c]) / std[c].
struct Conversion {
  double scale = 1;
  std::vector<double> mean = {};
  std::vector<double> stddev = {};
  std::int64_t crop_padding = 0;
  bool flip = false;
};

/// The fields of a Conversion, in whatever options struct they stand.
template <class Fields, class Options>
void describe_conversion(Fields& fields, Options& o) {
  fields.add("scale", o.scale, "stored values are multiplied by this, as by 1/255 for images", positive());
  fields.add("mean", o.mean, "subtracted after that: one number, or one a channel (column); empty for 0", anything());
  fields.add("std", o.stddev, "divided by after that: one number, or one a channel (column); empty for 1", positive());
  fields.add("crop_padding", o.crop_padding,
             "pixels of zeros put around an image before a random crop of its own size; 0 for none", at_least(0));
  fields.add("flip", o.flip, "mirror each image left to right with a chance of one half", anything());
}

template <class Fields>
void describe(Fields& fields, Conversion& o) {
  describe_conversion(fields, o);
}

/// Serves a Dataset in its stored type; gathering, conversion, crop and flip are one pass from the set to the batch.
///
/// Inputs: uint8, bool and floating point become float32; other whole numbers are tokens and stay as they are.
/// Targets: whole numbers become int64, floating point becomes float32. Images for crop and flip are (N, C, H, W).
/// Padding is zero as stored, before the conversion.
/// Errors: mean or std of another length than 1 or the channels, crop or flip without images, a conversion of tokens.
class TensorStore : public SampleStore {
 public:
  explicit TensorStore(Dataset dataset, Conversion conversion = {});

  [[nodiscard]] std::int64_t size() const override { return dataset_.size(); }
  void gather(std::span<const Sample> samples, Batch& batch) const override;

  [[nodiscard]] const Dataset& dataset() const { return dataset_; }

 private:
  void check_conversion() const;
  void set_factors();
  template <class Stored>
  void convert_sample(const Stored* from, float* to, std::uint64_t random) const;
  template <class Stored>
  void convert_all(std::span<const Sample> samples, float* to) const;

  Dataset dataset_;
  Conversion conversion_;
  bool keeps_type_ = false;  // tokens
  std::int64_t channels_ = 1;
  std::int64_t plane_ = 1;     // values of a channel of a sample
  bool uniform_ = true;        // all channels have the same factors
  std::vector<float> factor_;  // of each channel: value * factor + offset
  std::vector<float> offset_;
};

}  // namespace gradwise
