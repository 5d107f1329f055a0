#include "gradwise/data/tensor_store.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "gradwise/core/error.h"
#include "gradwise/data/new_tensor.h"
#include "gradwise/data/shuffle.h"

namespace gradwise {
namespace {

constexpr const char* kTensorStorePlace = "loader";

/// Calls `use<Stored>()` with the C++ type that elements of `type` have in memory.
template <class Use>
void with_stored_type(at::ScalarType type, const Use& use) {
  switch (type) {
    case at::kByte:
    case at::kBool:
      return use.template operator()<std::uint8_t>();
    case at::kChar:
      return use.template operator()<std::int8_t>();
    case at::kShort:
      return use.template operator()<std::int16_t>();
    case at::kInt:
      return use.template operator()<std::int32_t>();
    case at::kLong:
      return use.template operator()<std::int64_t>();
    case at::kHalf:
      return use.template operator()<at::Half>();
    case at::kBFloat16:
      return use.template operator()<at::BFloat16>();
    case at::kFloat:
      return use.template operator()<float>();
    case at::kDouble:
      return use.template operator()<double>();
    default:
      fail_usage(kTensorStorePlace, "the data set has type ", type,
                 ", allowed: Byte, Bool, Char, Short, Int, Long, Half, BFloat16, Float, Double");
  }
}

template <class Stored>
void scale_all(const Stored* from, float* to, std::int64_t count, float factor, float offset) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) {
    to[i] = static_cast<float>(from[i]) * factor + offset;
  }
}

template <class Stored>
void scale_each(const Stored* from, float* to, std::int64_t count, const float* factor, const float* offset) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) {
    to[i] = static_cast<float>(from[i]) * factor[i] + offset[i];
  }
}

/// Element i of `to` is made of element -i of `last`.
template <class Stored>
void scale_mirrored(const Stored* last, float* to, std::int64_t count, float factor, float offset) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) {
    to[i] = static_cast<float>(last[-i]) * factor + offset;
  }
}

/// Where a crop lies: output pixel (y, x) is stored pixel (y + down, x + right), then mirrored or not.
struct Crop {
  std::int64_t down = 0;
  std::int64_t right = 0;
  bool mirrored = false;
};

Crop draw_crop(const Conversion& conversion, std::uint64_t random) {
  const auto places = static_cast<std::uint64_t>(2 * conversion.crop_padding + 1);
  Crop crop;
  crop.down = static_cast<std::int64_t>(below(places, random_bits(random, 0))) - conversion.crop_padding;
  crop.right = static_cast<std::int64_t>(below(places, random_bits(random, 1))) - conversion.crop_padding;
  crop.mirrored = conversion.flip && below(2, random_bits(random, 2)) == 1;
  return crop;
}

/// One channel of one image; |down| < height and |right| < width.
template <class Stored>
void crop_plane(const Stored* from, float* to, std::int64_t height, std::int64_t width, const Crop& crop, float factor,
                float offset) {
  const std::int64_t count = width - std::abs(crop.right);                 // columns that come from the image
  const std::int64_t source = std::max<std::int64_t>(0, crop.right);       // the first of them there
  const std::int64_t unmirrored = std::max<std::int64_t>(0, -crop.right);  // and in the output
  const std::int64_t first = crop.mirrored ? width - unmirrored - count : unmirrored;
  for (std::int64_t y = 0; y < height; ++y, to += width) {
    const std::int64_t row = y + crop.down;
    if (row < 0 || row >= height) {
      std::fill(to, to + width, offset);
      continue;
    }
    const Stored* pixels = from + row * width + source;
    std::fill(to, to + first, offset);
    if (crop.mirrored) {
      scale_mirrored(pixels + count - 1, to + first, count, factor, offset);
    } else {
      scale_all(pixels, to + first, count, factor, offset);
    }
    std::fill(to + first + count, to + width, offset);
  }
}

template <class Stored, class Wanted>
void copy_rows(const at::Tensor& source, std::span<const Sample> samples, Wanted* to) {
  const std::int64_t row = source.size(0) == 0 ? 0 : source.numel() / source.size(0);
  const Stored* from = static_cast<const Stored*>(source.const_data_ptr());
  for (const Sample& sample : samples) {
    const Stored* values = from + sample.index * row;
    to = std::transform(values, values + row, to, [](Stored value) { return static_cast<Wanted>(value); });
  }
}

/// The samples' rows in the type Wanted.
template <class Wanted>
void gather_as(const at::Tensor& source, std::span<const Sample> samples, Wanted* to) {
  with_stored_type(source.scalar_type(),
                   [&source, samples, to]<class Stored>() { copy_rows<Stored, Wanted>(source, samples, to); });
}

void gather_bytes(const at::Tensor& source, std::span<const Sample> samples, void* to) {
  const std::size_t row = source.nbytes() / static_cast<std::size_t>(source.size(0));
  const char* from = static_cast<const char*>(source.const_data_ptr());
  char* next = static_cast<char*>(to);
  for (const Sample& sample : samples) {
    std::memcpy(next, from + static_cast<std::size_t>(sample.index) * row, row);
    next += row;
  }
}

std::vector<std::int64_t> batch_shape(const at::Tensor& source, std::span<const Sample> samples) {
  std::vector<std::int64_t> shape = source.sizes().vec();
  shape[0] = static_cast<std::int64_t>(samples.size());
  return shape;
}

void gather_targets(const at::Tensor& source, std::span<const Sample> samples, at::Tensor& target) {
  if (!source.defined()) {
    target = at::Tensor();
    return;
  }
  if (source.is_floating_point()) {
    ensure_tensor(target, batch_shape(source, samples), at::kFloat);
    gather_as(source, samples, target.mutable_data_ptr<float>());
  } else {
    ensure_tensor(target, batch_shape(source, samples), at::kLong);
    gather_as(source, samples, target.mutable_data_ptr<std::int64_t>());
  }
}

}  // namespace

TensorStore::TensorStore(Dataset dataset, Conversion conversion)
    : dataset_(std::move(dataset)), conversion_(std::move(conversion)) {
  check_fields(kTensorStorePlace, conversion_);
  GRADWISE_CHECK(dataset_.size() > 0, kTensorStorePlace, "the data set is empty");
  const Dataset checked = make_dataset(dataset_.inputs, dataset_.targets);
  dataset_.inputs = checked.inputs;
  dataset_.targets = checked.targets;
  const at::ScalarType type = dataset_.inputs.scalar_type();
  keeps_type_ = type != at::kByte && type != at::kBool && !at::isFloatingType(type);
  channels_ = dataset_.inputs.dim() > 1 ? dataset_.inputs.size(1) : 1;
  plane_ = dataset_.inputs.numel() / std::max<std::int64_t>(1, dataset_.size() * channels_);
  check_conversion();
  set_factors();
}

void TensorStore::check_conversion() const {
  const at::IntArrayRef shape = dataset_.inputs.sizes();
  const bool images = shape.size() == 4;
  const auto fits = [channels = channels_](const std::vector<double>& values) {
    return values.size() <= 1 || static_cast<std::int64_t>(values.size()) == channels;
  };
  GRADWISE_CHECK(fits(conversion_.mean), kTensorStorePlace, "mean has ", conversion_.mean.size(),
                 " numbers, allowed: 0, 1 or ", channels_, ", as inputs of shape ", shape, " have channels");
  GRADWISE_CHECK(fits(conversion_.stddev), kTensorStorePlace, "std has ", conversion_.stddev.size(),
                 " numbers, allowed: 0, 1 or ", channels_, ", as inputs of shape ", shape, " have channels");
  GRADWISE_CHECK(!conversion_.flip || images, kTensorStorePlace,
                 "flip needs images (N, C, H, W), the inputs have shape ", shape);
  if (conversion_.crop_padding > 0) {
    GRADWISE_CHECK(images, kTensorStorePlace, "crop_padding needs images (N, C, H, W), the inputs have shape ", shape);
    GRADWISE_CHECK(conversion_.crop_padding < std::min(shape[2], shape[3]), kTensorStorePlace, "crop_padding is ",
                   conversion_.crop_padding, ", allowed: less than the images' sides ", shape[2], " and ", shape[3]);
  }
  const bool converts = conversion_.scale != 1 || !conversion_.mean.empty() || !conversion_.stddev.empty() ||
                        conversion_.crop_padding > 0 || conversion_.flip;
  GRADWISE_CHECK(!keeps_type_ || !converts, kTensorStorePlace, "inputs of type ", dataset_.inputs.scalar_type(),
                 " are tokens and stay as they are, allowed: no scale, mean, std, crop_padding or flip");
}

void TensorStore::set_factors() {
  const auto value = [](const std::vector<double>& values, std::size_t channel, double otherwise) {
    return values.empty() ? otherwise : values[values.size() == 1 ? 0 : channel];
  };
  for (std::size_t c = 0; c < static_cast<std::size_t>(channels_); ++c) {
    const double deviation = value(conversion_.stddev, c, 1);
    factor_.push_back(static_cast<float>(conversion_.scale / deviation));
    offset_.push_back(static_cast<float>(-value(conversion_.mean, c, 0) / deviation));
  }
  uniform_ = conversion_.mean.size() <= 1 && conversion_.stddev.size() <= 1;
}

template <class Stored>
void TensorStore::convert_sample(const Stored* from, float* to, std::uint64_t random) const {
  if (conversion_.crop_padding == 0 && !conversion_.flip) {
    if (uniform_) {
      scale_all(from, to, channels_ * plane_, factor_[0], offset_[0]);
      return;
    }
    if (plane_ == 1) {
      scale_each(from, to, channels_, factor_.data(), offset_.data());
      return;
    }
  }
  const bool images = dataset_.inputs.dim() == 4;
  const std::int64_t width = images ? dataset_.inputs.size(3) : plane_;
  const Crop crop = draw_crop(conversion_, random);
  for (std::int64_t c = 0; c < channels_; ++c) {
    const auto channel = static_cast<std::size_t>(c);
    crop_plane(from + c * plane_, to + c * plane_, width == 0 ? 0 : plane_ / width, width, crop, factor_[channel],
               offset_[channel]);
  }
}

template <class Stored>
void TensorStore::convert_all(std::span<const Sample> samples, float* to) const {
  const std::int64_t row = channels_ * plane_;
  const Stored* from = static_cast<const Stored*>(dataset_.inputs.const_data_ptr());
  for (const Sample& sample : samples) {
    convert_sample(from + sample.index * row, to, sample.random);
    to += row;
  }
}

void TensorStore::gather(std::span<const Sample> samples, Batch& batch) const {
  const at::Tensor& source = dataset_.inputs;
  batch.extra.clear();
  gather_targets(dataset_.targets, samples, batch.target);
  if (keeps_type_) {
    ensure_tensor(batch.input, batch_shape(source, samples), source.scalar_type());
    gather_bytes(source, samples, batch.input.mutable_data_ptr());
    return;
  }
  ensure_tensor(batch.input, batch_shape(source, samples), at::kFloat);
  float* to = batch.input.mutable_data_ptr<float>();
  with_stored_type(source.scalar_type(),
                   [this, samples, to]<class Stored>() { this->convert_all<Stored>(samples, to); });
}

}  // namespace gradwise
