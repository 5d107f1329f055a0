#include "benchmarks/diagnosis/samples.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/randperm.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/stack.h>

#include <filesystem>

#include "gradwise/core/error.h"
#include "gradwise/data/csv.h"
#include "gradwise/data/idx.h"

namespace gradwise::bench {
namespace {

constexpr std::int64_t kTrain = 4000;
constexpr std::int64_t kTest = 1000;
constexpr const char* kFashion = "/usr/share/datasets/fashion-mnist/";
constexpr const char* kDiabetes = "examples/data/diabetes.csv";

at::Tensor standardized(const at::Tensor& x) {
  return x.sub(x.mean(0)).div(x.std(0, /*unbiased=*/false).clamp_min(1e-6));
}

Samples split_of(const at::Tensor& x, const at::Tensor& y, std::int64_t test, std::int64_t outputs, bool classes) {
  const std::int64_t train = x.size(0) - test;
  return {{x.narrow(0, 0, train).contiguous(), y.narrow(0, 0, train).contiguous()},
          {x.narrow(0, train, test).contiguous(), y.narrow(0, train, test).contiguous()},
          outputs,
          classes};
}

Samples blobs() {
  constexpr std::int64_t kClasses = 8;
  constexpr std::int64_t kFeatures = 16;
  const at::Tensor y = at::randint(kClasses, {kTrain + kTest}, at::kLong);
  const at::Tensor centres = at::randn({kClasses, kFeatures}).mul(0.8);
  return split_of(standardized(centres.index_select(0, y).add(at::randn({kTrain + kTest, kFeatures}))), y, kTest,
                  kClasses, true);
}

// Three rings around each other, and two features of noise.
Samples circles() {
  const at::Tensor y = at::randint(3, {kTrain + kTest}, at::kLong);
  const at::Tensor angle = at::rand({kTrain + kTest}).mul(6.2831853);
  const at::Tensor radius = y.to(at::kFloat).add(1).add(at::randn({kTrain + kTest}).mul(0.15));
  const at::Tensor plane = at::stack({radius.mul(angle.cos()), radius.mul(angle.sin())}, 1);
  return split_of(standardized(at::cat({plane, at::randn({kTrain + kTest, 2})}, 1)), y, kTest, 3, true);
}

// A smooth function of eight numbers, with noise.
Samples waves() {
  const at::Tensor x = at::randn({kTrain + kTest, 8});
  const at::Tensor y = x.select(1, 0).sin().add(x.select(1, 1).mul(x.select(1, 2)).mul(0.5)).add(x.select(1, 3).cos());
  const at::Tensor noisy = y.add(at::randn({kTrain + kTest}).mul(0.1));
  return split_of(x, standardized(noisy).unsqueeze(1), kTest, 1, false);
}

Samples diabetes() {
  const Dataset all = read_csv(kDiabetes, {.label = "progression"});
  const at::Tensor order = at::randperm(all.size(), at::kLong);
  const at::Tensor x = standardized(all.inputs.to(at::kFloat)).index_select(0, order);
  const at::Tensor y = standardized(all.targets.to(at::kFloat)).index_select(0, order);
  return split_of(x, y.reshape({-1, 1}), 90, 1, false);
}

Samples fashion() {
  const std::string start = kFashion;
  const Dataset all = read_idx_dataset(start + "train-images-idx3-ubyte.gz", start + "train-labels-idx1-ubyte.gz");
  const at::Tensor order = at::randperm(all.size(), at::kLong).narrow(0, 0, kTrain + kTest);
  const at::Tensor x = all.inputs.index_select(0, order).to(at::kFloat).div(255);
  return split_of(x.sub(0.286).div(0.353), all.targets.index_select(0, order).to(at::kLong), kTest, 10, true);
}

}  // namespace

Samples make_samples(const Scenario& scenario) {
  if (scenario.data == "fashion") {
    return fashion();
  }
  if (scenario.data == "circles") {
    return circles();
  }
  if (scenario.data == "waves") {
    return waves();
  }
  return scenario.data == "diabetes" ? diabetes() : blobs();
}

}  // namespace gradwise::bench
