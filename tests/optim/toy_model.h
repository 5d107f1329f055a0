#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "gradwise/core/model.h"
#include "gradwise/data/new_tensor.h"

namespace gradwise {

/// Numbers from -1 to 1 that depend on the seed alone.
inline at::Tensor random_tensor(at::IntArrayRef shape, unsigned int seed, at::ScalarType dtype = at::kFloat) {
  std::mt19937 engine(seed);
  at::Tensor tensor = new_tensor(shape, at::kDouble);
  double* values = tensor.mutable_data_ptr<double>();
  for (std::int64_t i = 0; i < tensor.numel(); ++i) {
    values[i] = static_cast<double>(engine()) / 2147483648.0 - 1.0;
  }
  return tensor.to(dtype);
}

/// A network 4 -> 8 (tanh) -> 1: layer.weight (4, 8), layer.bias (8), head.weight (8, 1), head.bias (1).
inline Model toy_model(unsigned int seed = 1, at::ScalarType dtype = at::kFloat) {
  const at::Tensor w1 = random_tensor({4, 8}, seed, dtype).requires_grad_();
  const at::Tensor b1 = random_tensor({8}, seed + 1, dtype).requires_grad_();
  const at::Tensor w2 = random_tensor({8, 1}, seed + 2, dtype).requires_grad_();
  const at::Tensor b2 = random_tensor({1}, seed + 3, dtype).requires_grad_();
  Model model;
  model.parameters = {{"layer.weight", "layer.bias", "head.weight", "head.bias"}, {w1, b1, w2, b2}};
  model.forward = [w1, b1, w2, b2](const Batch& batch) {
    return batch.input.matmul(w1).add(b1).tanh().matmul(w2).add(b2);
  };
  return model;
}

/// Inputs (n, 4) and targets (n, 1) for it.
inline Batch toy_batch(std::int64_t n, unsigned int seed = 100, at::ScalarType dtype = at::kFloat) {
  return {random_tensor({n, 4}, seed, dtype), random_tensor({n, 1}, seed + 1, dtype), {}};
}

inline at::Tensor squared_error(const at::Tensor& output, const at::Tensor& target) {
  return output.sub(target).square().mean();
}

/// Samples [from, to) of a batch.
inline Batch part_of(const Batch& batch, std::int64_t from, std::int64_t to) {
  return {batch.input.slice(0, from, to), batch.target.slice(0, from, to), {}};
}

inline std::vector<at::Tensor> copies_of(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> copies;
  for (const at::Tensor& tensor : tensors) {
    copies.push_back(tensor.detach().clone());
  }
  return copies;
}

/// Copies values into tensors, parameters among them.
inline void write_into(const std::vector<at::Tensor>& tensors, const std::vector<at::Tensor>& values) {
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    at::Tensor(tensors[i]).copy_(values[i]);
  }
}

/// A backward of the toy model's loss; the gradients stay.
inline void backward(const Model& model, const Batch& batch, double scale = 1) {
  squared_error(model.forward(batch), batch.target).mul(scale).backward();
}

/// The gradients of a loss on the parameters, which are left without gradients.
inline std::vector<at::Tensor> gradients_of(const Model& model, const Batch& batch) {
  backward(model, batch);
  std::vector<at::Tensor> gradients;
  for (const at::Tensor& parameter : model.parameters.tensors) {
    gradients.push_back(parameter.grad().clone());
    at::Tensor(parameter).mutable_grad().reset();
  }
  return gradients;
}

/// The L2 norm over all elements, summed in double one after the other.
inline double norm_of(const std::vector<at::Tensor>& tensors) {
  double sum = 0;
  for (const at::Tensor& tensor : tensors) {
    const at::Tensor wide = tensor.detach().to(at::kDouble).contiguous();
    const double* values = wide.const_data_ptr<double>();
    for (std::int64_t i = 0; i < wide.numel(); ++i) {
      sum += values[i] * values[i];
    }
  }
  return std::sqrt(sum);
}

/// The same shape, type and bits (a NaN equals itself).
inline bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes() || a.scalar_type() != b.scalar_type()) {
    return false;
  }
  const at::Tensor x = a.detach().contiguous().reshape({-1}).view(at::kByte);
  return x.equal(b.detach().contiguous().reshape({-1}).view(at::kByte));
}

inline void expect_same_bits(const std::vector<at::Tensor>& actual, const std::vector<at::Tensor>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    EXPECT_TRUE(same_bits(actual[i], expected[i]))
        << "tensor " << i << " differs by up to " << actual[i].sub(expected[i]).abs().max().item<double>();
  }
}

inline void expect_close(const at::Tensor& actual, const at::Tensor& expected, double tolerance) {
  ASSERT_TRUE(actual.sizes() == expected.sizes()) << actual.sizes() << " and " << expected.sizes();
  const at::Tensor difference = actual.detach().to(at::kDouble).sub(expected.detach().to(at::kDouble)).abs();
  EXPECT_LE(difference.numel() > 0 ? difference.max().item<double>() : 0.0, tolerance);
}

inline void expect_close(const std::vector<at::Tensor>& actual, const std::vector<at::Tensor>& expected,
                         double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    SCOPED_TRACE("tensor " + std::to_string(i));
    expect_close(actual[i], expected[i], tolerance);
  }
}

}  // namespace gradwise
