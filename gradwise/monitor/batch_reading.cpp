#include "gradwise/monitor/batch_reading.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/bincount.h>

#include <cmath>
#include <vector>

#include "gradwise/autograd/tensor_moments.h"

namespace gradwise {
namespace {

constexpr std::int64_t kMostConfusedClasses = 100;

kernels::Moments moments_anywhere(const at::Tensor& tensor) {
  return kernels_read(tensor)
             ? moments_of(tensor)
             : moments_from(gradient_figures(tensor).to(at::kCPU, at::kDouble).const_data_ptr<double>());
}

double share(std::int64_t part, std::int64_t whole) {
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0;
}

void read_input(const at::Tensor& input, BatchReading& reading) {
  if (!input.is_floating_point()) {
    reading.tokens = true;
    if (input.dim() == 2 && input.size(1) > 1) {  // padding stands at the end of the rows
      const at::Tensor last = input.select(1, -1).reshape({-1}).to(at::kCPU);
      const std::int64_t commonest = at::argmax(at::bincount(last.clamp_min(0))).item<std::int64_t>();
      const at::Tensor padded = input.eq(commonest).flip(1).to(at::kInt).cumprod(1).sum();
      reading.padding = share(padded.item<std::int64_t>(), input.numel());
    }
    return;
  }
  const kernels::Moments m = moments_anywhere(input);
  reading.input_mean = m.mean();
  reading.input_deviation = std::sqrt(m.variance());
  reading.input_max = m.max_abs();
  reading.input_nonfinite = share(m.nans + m.infs, m.count);
}

void read_output(const at::Tensor& output, BatchReading& reading) {
  const kernels::Moments m = moments_anywhere(output);
  reading.output_min = m.min;
  reading.output_max = m.max;
  reading.output_deviation = std::sqrt(m.variance());
  reading.output_nonfinite = share(m.nans + m.infs, m.count);
  if (output.dim() >= 2 && output.size(-1) > 1 && m.min >= 0 && m.max <= 1) {
    const double widest = output.sum(-1).sub(1).abs().max().to(at::kDouble).item<double>();
    reading.output_rows_sum_to_one = widest < 1e-3;
  }
}

std::vector<std::int64_t> numbers_of(const at::Tensor& counts) {
  const at::Tensor host = counts.to(at::kCPU, at::kLong).contiguous();
  return {host.const_data_ptr<std::int64_t>(), host.const_data_ptr<std::int64_t>() + host.numel()};
}

// Scores have the classes in the last dimension (samples and, of a text, positions before it).
void read_classes(const at::Tensor& output, const at::Tensor& target, std::int64_t classes, BatchReading& reading) {
  const at::Tensor labels = target.reshape({-1});
  if (labels.numel() == 0 || labels.min().item<std::int64_t>() < 0 || labels.max().item<std::int64_t>() >= classes) {
    return;  // an ignored index, or the loss's own error to give
  }
  reading.labels = numbers_of(at::bincount(labels, {}, classes));
  if (output.dim() == 0 || output.size(-1) != classes || output.numel() != labels.numel() * classes) {
    return;
  }
  const at::Tensor predicted = at::argmax(output, -1).reshape({-1});
  reading.accuracy = share(predicted.eq(labels).sum().item<std::int64_t>(), labels.numel());
  if (classes <= kMostConfusedClasses) {
    reading.confusion = numbers_of(at::bincount(labels.mul(classes).add(predicted), {}, classes * classes));
  }
}

}  // namespace

BatchReading read_batch(const Batch& batch, const at::Tensor& output, std::int64_t classes) {
  const at::NoGradGuard no_grad;
  BatchReading reading;
  reading.samples = batch.size();
  read_input(batch.input, reading);
  const at::Tensor answer = output.detach();
  if (answer.is_floating_point() && answer.numel() > 0) {
    read_output(answer, reading);
  }
  if (!batch.target.defined()) {
    return reading;
  }
  if (batch.target.is_floating_point()) {
    const kernels::Moments m = moments_anywhere(batch.target.detach());
    reading.target_mean = m.mean();
    reading.target_deviation = std::sqrt(m.variance());
  } else if (classes > 0 && batch.target.scalar_type() == at::kLong) {
    read_classes(answer, batch.target, classes, reading);
  }
  return reading;
}

}  // namespace gradwise
