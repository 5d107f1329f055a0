#include <ATen/ops/clamp.h>
#include <ATen/ops/expm1.h>
#include <ATen/ops/log_sigmoid.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/scatter.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>

#include "gradwise/autograd/functions/custom_loss.h"
#include "gradwise/core/error.h"

namespace gradwise {
namespace {

void check_number(const char* place, const Tensors& inputs, std::size_t number) {
  GRADWISE_CHECK(inputs.size() == number, place, "there are ", inputs.size(), " inputs, allowed: ", number);
  GRADWISE_CHECK(inputs[0].is_floating_point(), place, "input 0 has the type ", inputs[0].scalar_type(),
                 ", allowed: floating types");
}

void check_same_shape(const char* place, const Tensors& inputs, std::size_t other) {
  GRADWISE_CHECK(inputs[0].sizes() == inputs[other].sizes(), place, "input 0 has the shape ", inputs[0].sizes(),
                 " and input ", other, " the shape ", inputs[other].sizes(), ", allowed: the same");
}

// (N, C, ...) beside classes (N, ...) that are integers.
void check_classes(const char* place, const Tensors& inputs) {
  check_number(place, inputs, 2);
  at::DimVector expected(inputs[0].sizes());
  GRADWISE_CHECK(expected.size() >= 2, place, "the input has the shape ", inputs[0].sizes(), ", allowed: (N, C, ...)");
  expected.erase(expected.begin() + 1);
  GRADWISE_CHECK(inputs[1].sizes() == at::IntArrayRef(expected), place, "the target has the shape ", inputs[1].sizes(),
                 ", allowed for an input ", inputs[0].sizes(), ": ", at::IntArrayRef(expected));
  GRADWISE_CHECK(inputs[1].scalar_type() == at::kLong, place, "the target has the type ", inputs[1].scalar_type(),
                 ", allowed: int64 classes");
}

// 1 in place of 0: for divisors and roots where what becomes of 0 does not count.
at::Tensor one_for_zero(const at::Tensor& tensor) { return at::where(tensor.eq(0), at::ones_like(tensor), tensor); }

class Huber : public LossDefinition {
 public:
  explicit Huber(double delta) : delta_(delta) {
    GRADWISE_CHECK(delta > 0, "huber", "delta is ", delta, ", allowed: > 0");
  }
  [[nodiscard]] const char* name() const override { return "huber"; }
  void check(const Tensors& inputs) const override {
    check_number(name(), inputs, 2);
    check_same_shape(name(), inputs, 1);
  }
  [[nodiscard]] at::Tensor forward(const Tensors& inputs) const override {
    const at::Tensor error = inputs[0].sub(inputs[1]);
    const at::Tensor inside = error.clamp(-delta_, delta_);
    return inside.mul(error.sub(inside.mul(0.5)));
  }
  [[nodiscard]] Tensors backward(const Tensors& inputs, const at::Tensor& grad,
                                 const std::vector<bool>& needed) const override {
    const at::Tensor slope = grad.mul(inputs[0].sub(inputs[1]).clamp(-delta_, delta_));
    return {needed[0] ? slope : at::Tensor(), needed[1] ? slope.neg() : at::Tensor()};
  }

 private:
  double delta_;
};

class Focal : public LossDefinition {
 public:
  explicit Focal(const FocalOptions& options) : gamma_(options.gamma), alpha_(options.alpha) {
    GRADWISE_CHECK(gamma_ == 0 || gamma_ >= 1, "focal", "gamma is ", gamma_,
                   ", allowed: 0, or >= 1 (between them the slope is infinite where a sample is certain)");
    GRADWISE_CHECK(alpha_ <= 1, "focal", "alpha is ", alpha_, ", allowed: <= 1, below 0 for none");
  }
  [[nodiscard]] const char* name() const override { return "focal"; }
  void check(const Tensors& inputs) const override {
    GRADWISE_CHECK(inputs.size() == 2, name(), "there are ", inputs.size(), " inputs, allowed: 2");
    if (binary(inputs)) {
      check_number(name(), inputs, 2);
      check_same_shape(name(), inputs, 1);
    } else {
      check_classes(name(), inputs);
      GRADWISE_CHECK(alpha_ < 0, name(), "alpha is ", alpha_, ", allowed for classes: none, it weighs binary targets");
    }
  }

  [[nodiscard]] at::Tensor forward(const Tensors& inputs) const override {
    const at::Tensor log_p = log_probability(inputs);
    const at::Tensor loss = gamma_ == 0 ? log_p.neg() : log_p.neg().mul(power(missing(log_p), gamma_));
    return weighted(loss, inputs);
  }

  [[nodiscard]] Tensors backward(const Tensors& inputs, const at::Tensor& grad,
                                 const std::vector<bool>& needed) const override {
    GRADWISE_CHECK(!needed[1], "focal", "there is no gradient with respect to the target");
    if (!needed[0]) {
      return {at::Tensor(), at::Tensor()};
    }
    // d/dlog p of -(1-p)^γ log p, times the derivative of log p by the logits.
    const at::Tensor log_p = log_probability(inputs);
    const at::Tensor q = missing(log_p);
    at::Tensor slope = at::ones_like(q).neg();
    if (gamma_ != 0) {
      slope = power(q, gamma_).neg().add(power(q, gamma_ - 1).mul(log_p.exp()).mul(log_p), gamma_);
    }
    slope = weighted(slope.mul(grad), inputs);
    if (binary(inputs)) {
      return {slope.mul(inputs[1].mul(2).sub(1)).mul(q), at::Tensor()};
    }
    const at::Tensor target = inputs[1].unsqueeze(1);
    const at::Tensor p = at::log_softmax(inputs[0], 1).exp();
    const at::Tensor rows = slope.unsqueeze(1);
    return {p.mul(rows).neg().scatter_add(1, target, rows), at::Tensor()};
  }

 private:
  static bool binary(const Tensors& inputs) { return inputs[1].is_floating_point(); }

  // log of the probability of what the target says.
  static at::Tensor log_probability(const Tensors& inputs) {
    if (binary(inputs)) {
      return at::log_sigmoid(inputs[0].mul(inputs[1].mul(2).sub(1)));
    }
    return at::log_softmax(inputs[0], 1).gather(1, inputs[1].unsqueeze(1)).squeeze(1);
  }

  // 1 - p without cancellation where p is near 1.
  static at::Tensor missing(const at::Tensor& log_p) { return at::expm1(log_p).neg(); }

  // q to a power, 0 and flat where q is 0: below 2 the slope of the slope is infinite there, and meets a factor of 0.
  static at::Tensor power(const at::Tensor& q, double exponent) {
    return at::where(q.eq(0), at::zeros_like(q), one_for_zero(q).pow(exponent));
  }

  [[nodiscard]] at::Tensor weighted(const at::Tensor& loss, const Tensors& inputs) const {
    if (alpha_ < 0) {
      return loss;
    }
    return loss.mul(inputs[1].mul(2 * alpha_ - 1).add(1 - alpha_));
  }

  double gamma_;
  double alpha_;
};

class LabelSmoothing : public LossDefinition {
 public:
  explicit LabelSmoothing(const LabelSmoothingOptions& options)
      : smoothing_(options.smoothing), ignore_(options.ignore_index) {
    GRADWISE_CHECK(smoothing_ >= 0 && smoothing_ <= 1, "label_smoothed_cross_entropy", "smoothing is ", smoothing_,
                   ", allowed: between 0 and 1");
  }
  [[nodiscard]] const char* name() const override { return "label_smoothed_cross_entropy"; }
  void check(const Tensors& inputs) const override { check_classes(name(), inputs); }

  [[nodiscard]] at::Tensor forward(const Tensors& inputs) const override {
    const at::Tensor log_p = at::log_softmax(inputs[0], 1);
    const at::Tensor loss =
        log_p.gather(1, classes(inputs)).squeeze(1).mul(smoothing_ - 1).sub(log_p.mean(1), smoothing_);
    return at::where(counts(inputs), loss, at::zeros_like(loss));
  }

  [[nodiscard]] Tensors backward(const Tensors& inputs, const at::Tensor& grad,
                                 const std::vector<bool>& needed) const override {
    if (!needed[0]) {
      return {at::Tensor(), at::Tensor()};
    }
    const at::Tensor rows = at::where(counts(inputs), grad, at::zeros_like(grad)).unsqueeze(1);
    const auto classes_count = static_cast<double>(inputs[0].size(1));
    const at::Tensor p = at::log_softmax(inputs[0], 1).exp().sub(smoothing_ / classes_count);
    return {p.mul(rows).scatter_add(1, classes(inputs), rows.mul(smoothing_ - 1)), at::Tensor()};
  }

  [[nodiscard]] at::Tensor count(const Tensors& inputs, const at::Tensor& losses) const override {
    return counts(inputs).sum().to(losses.options());
  }

 private:
  [[nodiscard]] at::Tensor counts(const Tensors& inputs) const { return inputs[1].ne(ignore_); }
  // Ignored targets may be no class at all; any will do, for their rows are zero.
  [[nodiscard]] at::Tensor classes(const Tensors& inputs) const {
    return at::where(counts(inputs), inputs[1], at::zeros_like(inputs[1])).unsqueeze(1);
  }

  double smoothing_;
  std::int64_t ignore_;
};

class Contrastive : public LossDefinition {
 public:
  explicit Contrastive(double margin) : margin_(margin) {
    GRADWISE_CHECK(margin > 0, "contrastive", "margin is ", margin, ", allowed: > 0");
  }
  [[nodiscard]] const char* name() const override { return "contrastive"; }
  void check(const Tensors& inputs) const override {
    check_number(name(), inputs, 3);
    check_same_shape(name(), inputs, 1);
    GRADWISE_CHECK(inputs[0].dim() == 2 && inputs[2].dim() == 1 && inputs[2].size(0) == inputs[0].size(0), name(),
                   "the inputs have the shapes ", inputs[0].sizes(), " and ", inputs[2].sizes(),
                   ", allowed: (N, D) and (N)");
  }

  [[nodiscard]] at::Tensor forward(const Tensors& inputs) const override {
    const at::Tensor same = inputs[2].to(inputs[0].scalar_type());
    const at::Tensor squares = inputs[0].sub(inputs[1]).pow(2).sum(1);
    const at::Tensor gap = at::clamp(distance(squares).neg().add(margin_), 0);
    return same.mul(squares).add(same.neg().add(1).mul(gap.pow(2))).mul(0.5);
  }

  [[nodiscard]] Tensors backward(const Tensors& inputs, const at::Tensor& grad,
                                 const std::vector<bool>& needed) const override {
    GRADWISE_CHECK(!needed[2], "contrastive", "there is no gradient with respect to which pairs are the same");
    const at::Tensor same = inputs[2].to(inputs[0].scalar_type());
    const at::Tensor difference = inputs[0].sub(inputs[1]);
    const at::Tensor d = distance(difference.pow(2).sum(1));
    const at::Tensor gap = at::clamp(d.neg().add(margin_), 0);
    const at::Tensor scale = same.sub(same.neg().add(1).mul(gap).div(one_for_zero(d))).mul(grad).unsqueeze(1);
    const at::Tensor slope = difference.mul(scale);
    return {needed[0] ? slope : at::Tensor(), needed[1] ? slope.neg() : at::Tensor(), at::Tensor()};
  }

 private:
  // Of points that coincide the distance has no gradient: taken as 0.
  static at::Tensor distance(const at::Tensor& squares) {
    return at::where(squares.eq(0), at::zeros_like(squares), one_for_zero(squares).sqrt());
  }

  double margin_;
};

class Triplet : public LossDefinition {
 public:
  explicit Triplet(const TripletOptions& options) : margin_(options.margin), p_(options.p), eps_(options.eps) {
    GRADWISE_CHECK(margin_ > 0, "triplet", "margin is ", margin_, ", allowed: > 0");
    GRADWISE_CHECK(p_ >= 1 && std::isfinite(p_), "triplet", "p is ", p_, ", allowed: >= 1 and finite");
    GRADWISE_CHECK(eps_ >= 0, "triplet", "eps is ", eps_, ", allowed: >= 0");
  }
  [[nodiscard]] const char* name() const override { return "triplet"; }
  void check(const Tensors& inputs) const override {
    check_number(name(), inputs, 3);
    check_same_shape(name(), inputs, 1);
    check_same_shape(name(), inputs, 2);
    GRADWISE_CHECK(inputs[0].dim() == 2, name(), "the inputs have the shape ", inputs[0].sizes(), ", allowed: (N, D)");
  }

  [[nodiscard]] at::Tensor forward(const Tensors& inputs) const override { return at::clamp(gap(inputs), 0); }

  [[nodiscard]] Tensors backward(const Tensors& inputs, const at::Tensor& grad,
                                 const std::vector<bool>& needed) const override {
    const at::Tensor active = gap(inputs).gt(0);
    const at::Tensor rows = at::where(active, grad, at::zeros_like(grad)).unsqueeze(1);
    const auto along = [&](std::size_t other) { return rows.mul(slope(inputs[0], inputs[other])); };
    const at::Tensor to_positive = needed[0] || needed[1] ? along(1) : at::Tensor();
    const at::Tensor to_negative = needed[0] || needed[2] ? along(2) : at::Tensor();
    return {needed[0] ? to_positive.sub(to_negative) : at::Tensor(), needed[1] ? to_positive.neg() : at::Tensor(),
            needed[2] ? to_negative : at::Tensor()};
  }

 private:
  [[nodiscard]] at::Tensor gap(const Tensors& inputs) const {
    return distance(inputs[0], inputs[1]).sub(distance(inputs[0], inputs[2])).add(margin_);
  }
  [[nodiscard]] at::Tensor distance(const at::Tensor& a, const at::Tensor& b) const {
    return a.sub(b).add(eps_).norm(p_, 1);
  }
  // The derivative of the distance by its first point.
  [[nodiscard]] at::Tensor slope(const at::Tensor& a, const at::Tensor& b) const {
    const at::Tensor difference = a.sub(b).add(eps_);
    const at::Tensor unit = difference.div(one_for_zero(difference.norm(p_, 1, /*keepdim=*/true)));
    return p_ == 2 ? unit : unit.sign().mul(unit.abs().pow(p_ - 1));
  }

  double margin_;
  double p_;
  double eps_;
};

}  // namespace

CustomLossFunction CustomLossFunction::huber(const HuberOptions& options) {
  return CustomLossFunction(std::make_shared<Huber>(options.delta), options.reduction);
}

CustomLossFunction CustomLossFunction::focal(const FocalOptions& options) {
  return CustomLossFunction(std::make_shared<Focal>(options), options.reduction);
}

CustomLossFunction CustomLossFunction::label_smoothed_cross_entropy(const LabelSmoothingOptions& options) {
  return CustomLossFunction(std::make_shared<LabelSmoothing>(options), options.reduction);
}

CustomLossFunction CustomLossFunction::contrastive(const ContrastiveOptions& options) {
  return CustomLossFunction(std::make_shared<Contrastive>(options.margin), options.reduction);
}

CustomLossFunction CustomLossFunction::triplet(const TripletOptions& options) {
  return CustomLossFunction(std::make_shared<Triplet>(options), options.reduction);
}

}  // namespace gradwise
