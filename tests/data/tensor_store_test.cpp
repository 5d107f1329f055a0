#include "gradwise/data/tensor_store.h"

#include <gtest/gtest.h>

#include <set>
#include <tuple>

#include "error_of.h"
#include "gradwise/data/shuffle.h"
#include "tensor_of.h"

namespace gradwise {
namespace {

constexpr std::int64_t kSamples = 6;

/// Samples 5, 0, 3, with the random bits of some epoch.
std::vector<Sample> some_samples() { return {{5, random_bits(1, 0)}, {0, random_bits(1, 1)}, {3, random_bits(1, 2)}}; }

Batch gathered(const Dataset& dataset, const Conversion& conversion) {
  Batch batch;
  TensorStore(dataset, conversion).gather(some_samples(), batch);
  return batch;
}

Dataset with_labels(const at::Tensor& inputs) { return make_dataset(inputs, counted<std::uint8_t>({inputs.size(0)})); }

struct Case {
  const char* what;
  at::Tensor inputs;
  Conversion conversion;
};

std::vector<Case> conversion_cases() {
  const at::Tensor images = counted<std::uint8_t>({kSamples, 3, 5, 7});
  const at::Tensor rows = counted<float>({kSamples, 4}, -40);
  Conversion one;
  one.scale = 1.0 / 255;
  one.mean = {0.3};
  one.stddev = {0.4};
  Conversion each = one;
  each.mean = {0.1, 0.2, 0.3};
  each.stddev = {0.5, 0.6, 0.7};
  Conversion columns;
  columns.mean = {1, -2, 3, 0};
  Conversion deviation;
  deviation.stddev = {4, 3, 2, 1};
  deviation.mean = {0.5};
  return {
      {"uint8 as it is", images, {}},
      {"one factor", images, one},
      {"a factor a channel", images, each},
      {"grey images", counted<std::uint8_t>({kSamples, 5, 7}), one},
      {"float rows", rows, one},
      {"columns", rows, columns},
      {"deviations and one mean", rows, deviation},
      {"doubles", rows.to(at::kDouble), columns},
      {"halves", rows.to(at::kHalf), columns},
      {"bfloat16", rows.to(at::kBFloat16), one},
      {"booleans", rows.gt(-35), one},
      {"volumes", counted<float>({kSamples, 3, 2, 2, 2}), each},
      {"one dimension", counted<float>({kSamples}), one},
  };
}

/// One number, or one a channel, in a shape that broadcasts over the inputs.
at::Tensor per_channel(const std::vector<double>& values, double otherwise, const at::Tensor& inputs) {
  if (values.size() <= 1) {
    return tensor_of<double>({values.empty() ? otherwise : values[0]}, {});
  }
  std::vector<std::int64_t> shape(static_cast<std::size_t>(inputs.dim()), 1);
  shape[1] = static_cast<std::int64_t>(values.size());
  return tensor_of<double>(values, shape);
}

TEST(TensorStore, ConvertsAsAtenDoes) {
  for (const Case& c : conversion_cases()) {
    SCOPED_TRACE(c.what);
    const Dataset dataset = with_labels(c.inputs);
    const Batch batch = gathered(dataset, c.conversion);
    const at::Tensor chosen = dataset.inputs.index_select(0, tensor_of<std::int64_t>({5, 0, 3}, {3}));
    const at::Tensor expected = chosen.to(at::kDouble)
                                    .mul(c.conversion.scale)
                                    .sub(per_channel(c.conversion.mean, 0, chosen))
                                    .div(per_channel(c.conversion.stddev, 1, chosen));
    EXPECT_EQ(batch.input.scalar_type(), at::kFloat);
    EXPECT_TRUE(batch.input.to(at::kDouble).allclose(expected, 1e-6, 1e-5));
    EXPECT_TRUE(batch.target.equal(tensor_of<std::int64_t>({5, 0, 3}, {3})));
  }
}

TEST(TensorStore, KeepsTokensAndConvertsTargets) {
  Dataset dataset;
  dataset.inputs = counted<std::int32_t>({kSamples, 2});
  dataset.targets = counted<double>({kSamples, 2});
  const Batch batch = gathered(dataset, {});
  EXPECT_TRUE(batch.input.equal(tensor_of<std::int32_t>({10, 11, 0, 1, 6, 7}, {3, 2})));
  EXPECT_TRUE(batch.target.equal(tensor_of<float>({10, 11, 0, 1, 6, 7}, {3, 2})));
  dataset.targets = at::Tensor();
  EXPECT_FALSE(gathered(dataset, {}).target.defined());
}

/// What a crop or flip should make of one image (C, H, W): written pixel by pixel.
at::Tensor cropped(const at::Tensor& image, std::int64_t down, std::int64_t right, bool flipped, float border) {
  const std::int64_t height = image.size(1);
  const std::int64_t width = image.size(2);
  const std::vector<float> from = values_of<float>(image);
  std::vector<float> to;
  for (std::int64_t c = 0; c < image.size(0); ++c) {
    for (std::int64_t y = 0; y < height; ++y) {
      for (std::int64_t x = 0; x < width; ++x) {
        const std::int64_t row = y + down;
        const std::int64_t column = (flipped ? width - 1 - x : x) + right;
        const bool inside = row >= 0 && row < height && column >= 0 && column < width;
        to.push_back(inside ? from[static_cast<std::size_t>((c * height + row) * width + column)] : border);
      }
    }
  }
  return tensor_of<float>(to, image.sizes());
}

using Found = std::tuple<std::int64_t, std::int64_t, bool>;

/// The crop that made `output` of `image`, if there is exactly one.
std::vector<Found> crops_that_fit(const at::Tensor& image, const at::Tensor& output, const Conversion& conversion,
                                  float border) {
  std::vector<Found> found;
  const std::int64_t reach = conversion.crop_padding;
  for (std::int64_t down = -reach; down <= reach; ++down) {
    for (std::int64_t right = -reach; right <= reach; ++right) {
      for (const bool flipped : {false, true}) {
        if ((conversion.flip || !flipped) && cropped(image, down, right, flipped, border).equal(output)) {
          found.emplace_back(down, right, flipped);
        }
      }
    }
  }
  return found;
}

TEST(TensorStore, CropsAndFlipsAreThoseOfTheImage) {
  const Dataset dataset = with_labels(counted<std::uint8_t>({kSamples, 2, 4, 6}, 1));
  Conversion plain;
  plain.mean = {0.25, 0.25};
  plain.stddev = {0.5, 0.5};
  std::vector<Sample> samples;
  for (std::uint64_t i = 0; i < 2000; ++i) {
    samples.push_back({static_cast<std::int64_t>(i % kSamples), random_bits(3, i)});
  }
  Batch untouched;
  TensorStore(dataset, plain).gather(samples, untouched);
  for (const auto& [padding, flip] :
       {std::pair(0, true), std::pair(2, false), std::pair(1, true), std::pair(3, true)}) {
    SCOPED_TRACE(padding);
    Conversion conversion = plain;
    conversion.crop_padding = padding;
    conversion.flip = flip;
    Batch batch;
    TensorStore(dataset, conversion).gather(samples, batch);
    std::set<Found> seen;
    for (std::int64_t i = 0; i < batch.size(); ++i) {
      const auto found = crops_that_fit(untouched.input.select(0, i), batch.input.select(0, i), conversion, -0.5F);
      ASSERT_EQ(found.size(), 1U) << "sample " << i;
      seen.insert(found[0]);
    }
    const int side = 2 * padding + 1;
    EXPECT_EQ(seen.size(), static_cast<std::size_t>(side * side * (flip ? 2 : 1))) << "every crop is drawn";
  }
}

struct Refused {
  const char* what;
  Dataset dataset;
  Conversion conversion;
  const char* message;
};

TEST(TensorStore, RefusesWhatDoesNotFit) {
  const Dataset images = with_labels(counted<std::uint8_t>({kSamples, 3, 4, 5}));
  const Dataset rows = with_labels(counted<float>({kSamples, 4}));
  const Dataset tokens = with_labels(counted<std::int64_t>({kSamples, 4}));
  const std::vector<Refused> table = {
      {"mean", images, {.mean = {1, 2}}, "mean has 2 numbers, allowed: 0, 1 or 3"},
      {"std", rows, {.stddev = {1, 2, 3}}, "std has 3 numbers, allowed: 0, 1 or 4"},
      {"zero", images, {.stddev = {1, 0, 1}}, "std[1] is 0, allowed: > 0"},
      {"crop", rows, {.crop_padding = 1}, "crop_padding needs images"},
      {"large crop", images, {.crop_padding = 4}, "crop_padding is 4, allowed: less than"},
      {"negative crop", images, {.crop_padding = -1}, "crop_padding is -1, allowed: >= 0"},
      {"flip", rows, {.flip = true}, "flip needs images"},
      {"tokens", tokens, {.scale = 0.5}, "are tokens"},
      {"empty", Dataset{}, {}, "the data set is empty"},
  };
  for (const Refused& refused : table) {
    SCOPED_TRACE(refused.what);
    EXPECT_ERROR_WITH(refused.message, TensorStore(refused.dataset, refused.conversion));
  }
}

}  // namespace
}  // namespace gradwise
