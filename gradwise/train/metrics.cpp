#include "gradwise/train/metrics.h"

#include <ATen/ops/cross_entropy_loss.h>

#include <charconv>
#include <cmath>

#include "gradwise/core/error.h"
#include "gradwise/core/nearest_name.h"

namespace gradwise {
namespace {

// Class scores as rows (N, C) and classes as (N), from (B, C, ...) with (B, ...).
std::pair<at::Tensor, at::Tensor> as_rows(const at::Tensor& output, const at::Tensor& target) {
  GRADWISE_CHECK(output.dim() == target.dim() + 1, "metric", "the output has shape ", output.sizes(), ", the classes ",
                 target.sizes(), ", allowed: (B, C, ...) with (B, ...)");
  const at::Tensor last = output.movedim(1, -1);
  return {last.reshape({-1, last.size(-1)}), target.reshape({-1})};
}

std::pair<at::Tensor, at::Tensor> as_values(const at::Tensor& output, const at::Tensor& target) {
  GRADWISE_CHECK(output.numel() == target.numel(), "metric", "the output has shape ", output.sizes(), ", the target ",
                 target.sizes(), ", allowed: as many elements");
  return {output.reshape({-1}).to(at::kDouble), target.reshape({-1}).to(at::kDouble)};
}

class TopK : public Metric {
 public:
  explicit TopK(std::int64_t k) : k_(k) {}
  void update(const at::Tensor& output, const at::Tensor& target) override {
    const auto [scores, classes] = as_rows(output, target);
    const auto largest = classes.max().item<std::int64_t>();
    GRADWISE_CHECK(largest < scores.size(1), "metric", "a target is class ", largest, ", the output has ",
                   scores.size(1), " classes");
    const at::Tensor own = scores.gather(1, classes.to(at::kLong).unsqueeze(1));
    // Rank of the right class: classes above it, and equal ones with a lower index.
    const at::Tensor columns = at::Tensor(classes.new_ones({scores.size(1)}, at::kLong)).cumsum(0).sub(1);
    const at::Tensor ahead =
        scores.gt(own).logical_or(scores.eq(own).logical_and(columns.unsqueeze(0).lt(classes.unsqueeze(1))));
    // A NaN compares as not ahead of anything: such a score is no hit.
    hits_ += ahead.sum(1).lt(k_).logical_and(scores.isnan().any(1).logical_not()).sum().item<std::int64_t>();
    seen_ += scores.size(0);
  }
  [[nodiscard]] double value() const override { return static_cast<double>(hits_) / static_cast<double>(seen_); }

 private:
  std::int64_t k_;
  std::int64_t hits_ = 0;
  std::int64_t seen_ = 0;
};

class Perplexity : public Metric {
 public:
  void update(const at::Tensor& output, const at::Tensor& target) override {
    const auto [scores, classes] = as_rows(output, target);
    sum_ += at::cross_entropy_loss(scores.to(at::kFloat), classes.to(at::kLong), {}, /*reduction=*/2).item<double>();
    seen_ += static_cast<double>(scores.size(0));
  }
  [[nodiscard]] double value() const override { return std::exp(sum_ / seen_); }

 private:
  double sum_ = 0;
  double seen_ = 0;
};

class MeanError : public Metric {
 public:
  explicit MeanError(bool squared) : squared_(squared) {}
  void update(const at::Tensor& output, const at::Tensor& target) override {
    const auto [values, wanted] = as_values(output, target);
    const at::Tensor error = values.sub(wanted);
    sum_ += (squared_ ? error.square() : error.abs()).sum().item<double>();
    seen_ += static_cast<double>(error.numel());
  }
  [[nodiscard]] double value() const override { return sum_ / seen_; }

 private:
  bool squared_;
  double sum_ = 0;
  double seen_ = 0;
};

// Total sum of squares from running mean and scatter (Chan et al. 1979), which does not cancel as Σy² - (Σy)²/n does.
class RSquared : public Metric {
 public:
  void update(const at::Tensor& output, const at::Tensor& target) override {
    const auto [values, wanted] = as_values(output, target);
    residual_ += values.sub(wanted).square().sum().item<double>();
    const auto n = static_cast<double>(wanted.numel());
    const double mean = wanted.mean().item<double>();
    const double scatter = wanted.sub(mean).square().sum().item<double>();
    const double delta = mean - mean_;
    scatter_ += scatter + delta * delta * seen_ * n / (seen_ + n);
    seen_ += n;
    mean_ += delta * n / seen_;
  }
  [[nodiscard]] double value() const override { return 1.0 - residual_ / scatter_; }

 private:
  double residual_ = 0;
  double scatter_ = 0;
  double mean_ = 0;
  double seen_ = 0;
};

// The K of "top_K", or 0 where `name` is not of that form.
std::int64_t top_k_of(const std::string& name) {
  std::int64_t k = 0;
  if (name.starts_with("top_")) {
    const char* end = name.data() + name.size();
    const auto parsed = std::from_chars(name.data() + 4, end, k);
    return parsed.ptr == end && k > 0 ? k : 0;
  }
  return 0;
}

}  // namespace

const std::vector<std::string>& metric_names() {
  static const std::vector<std::string> names{"accuracy", "top_5", "perplexity", "mae", "mse", "r2"};
  return names;
}

std::unique_ptr<Metric> make_metric(const std::string& name) {
  if (name == "accuracy") {
    return std::make_unique<TopK>(1);
  }
  if (const std::int64_t k = top_k_of(name); k > 0) {
    return std::make_unique<TopK>(k);
  }
  if (name == "perplexity") {
    return std::make_unique<Perplexity>();
  }
  if (name == "mae" || name == "mse") {
    return std::make_unique<MeanError>(name == "mse");
  }
  if (name == "r2") {
    return std::make_unique<RSquared>();
  }
  fail_usage("metric", "unknown metric \"", name, "\", allowed: accuracy, top_K (as top_5), perplexity, mae, mse, r2",
             did_you_mean(name, metric_names()));
}

bool larger_is_better(const std::string& name) { return name == "accuracy" || name == "r2" || top_k_of(name) > 0; }

}  // namespace gradwise
