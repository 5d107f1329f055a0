#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

namespace gradwise {

/// A figure over a data set, fed batch by batch.
class Metric {
 public:
  virtual ~Metric() = default;
  virtual void update(const at::Tensor& output, const at::Tensor& target) = 0;
  [[nodiscard]] virtual double value() const = 0;
};

/// Names that `make_metric` takes: accuracy, top_k (as top_3), perplexity, mae, mse, r2.
[[nodiscard]] const std::vector<std::string>& metric_names();

/// A fresh metric. accuracy and top_k: share of samples, from 0 to 1, for outputs (B, C, ...) and class indices
/// (B, ...), ties counted as the lower index; perplexity: exp of the mean cross-entropy; mae, mse: mean over all
/// elements; r2: 1 - residual sum of squares over total sum of squares, over all elements. Sums are kept in float64.
[[nodiscard]] std::unique_ptr<Metric> make_metric(const std::string& name);

/// True where a larger value is better.
[[nodiscard]] bool larger_is_better(const std::string& name);

}  // namespace gradwise
