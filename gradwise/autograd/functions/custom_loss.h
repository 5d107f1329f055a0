#pragma once

#include <memory>
#include <string>

#include "gradwise/autograd/functions/tensor_function.h"

namespace gradwise {

/// How the losses of a batch become one: not at all, by their mean or by their sum.
enum class Reduction { none, mean, sum };

/// A loss with a backward of its own: what a user derives from to write one. Both functions use operators that LibTorch
/// can differentiate, for the second order goes through them.
class LossDefinition {
 public:
  LossDefinition() = default;
  virtual ~LossDefinition() = default;
  LossDefinition(const LossDefinition&) = delete;
  LossDefinition& operator=(const LossDefinition&) = delete;

  /// As it stands in errors: "huber".
  [[nodiscard]] virtual const char* name() const = 0;
  /// Throws an Error where the inputs' number, shapes or types do not fit.
  virtual void check(const Tensors& inputs) const = 0;
  /// The losses, one an element or a sample.
  [[nodiscard]] virtual at::Tensor forward(const Tensors& inputs) const = 0;
  /// The gradients of sum(grad_losses * forward(inputs)), one an input; undefined where `needed` is false.
  [[nodiscard]] virtual Tensors backward(const Tensors& inputs, const at::Tensor& grad_losses,
                                         const std::vector<bool>& needed) const = 0;
  /// What Reduction::mean divides the sum by: a scalar; the number of losses unless some of them do not count. Losses
  /// of 16 bits are handed in as float32.
  [[nodiscard]] virtual at::Tensor count(const Tensors& inputs, const at::Tensor& losses) const;
};

struct HuberOptions {
  double delta = 1.0;  ///< where the square turns into a line
  Reduction reduction = Reduction::mean;
};

struct FocalOptions {
  double gamma = 2.0;  ///< how much less well-classified samples count; 0: plain cross-entropy
  double alpha = -1;   ///< weight of the positive class (the others get 1 - alpha); < 0: none. Binary targets alone.
  Reduction reduction = Reduction::mean;
};

struct LabelSmoothingOptions {
  double smoothing = 0.1;            ///< share of the target that goes to all classes alike
  std::int64_t ignore_index = -100;  ///< targets that do not count
  Reduction reduction = Reduction::mean;
};

struct ContrastiveOptions {
  double margin = 1.0;  ///< pairs of different classes are pushed apart up to this distance
  Reduction reduction = Reduction::mean;
};

struct TripletOptions {
  double margin = 1.0;
  double p = 2.0;     ///< of the distance's norm: finite, >= 1
  double eps = 1e-6;  ///< is added to the differences, as `at::triplet_margin_loss` does
  Reduction reduction = Reduction::mean;
};

/// A loss with a backward of its own and its reduction, callable as a LossFunction. Copies share the definition.
///
///   const auto loss_function = CustomLossFunction::huber({.delta = 0.5});
///   loop.train_epoch(loader, loss_function);
///
/// All of them take any floating type (a mean is summed up in float32 at least), compute only the gradients that are
/// asked for, and can be differentiated twice.
class CustomLossFunction {
 public:
  explicit CustomLossFunction(std::shared_ptr<const LossDefinition> definition, Reduction reduction = Reduction::mean);

  /// Huber, "Robust Estimation of a Location Parameter", 1964: e²/2 where |e| <= delta, else delta (|e| - delta/2), of
  /// e = input - target (any shape, the same).
  [[nodiscard]] static CustomLossFunction huber(const HuberOptions& options = {});
  /// Lin et al., "Focal Loss for Dense Object Detection", 2017, equation 5: -α (1 - p)^γ log p. Input (N, C, ...) and
  /// classes (N, ...) as integers: p of the softmax; input and target of one shape and floating: p of the sigmoid.
  [[nodiscard]] static CustomLossFunction focal(const FocalOptions& options = {});
  /// Szegedy et al., "Rethinking the Inception Architecture", 2016, section 7. Input (N, C, ...), classes (N, ...).
  [[nodiscard]] static CustomLossFunction label_smoothed_cross_entropy(const LabelSmoothingOptions& options = {});
  /// Hadsell, Chopra and LeCun, "Dimensionality Reduction by Learning an Invariant Mapping", 2006, equation 4: inputs
  /// {a (N, D), b (N, D), same (N)}, `same` 1 for pairs of a kind and 0 for others: same d²/2 + (1-same) max(0,
  /// margin-d)²/2.
  [[nodiscard]] static CustomLossFunction contrastive(const ContrastiveOptions& options = {});
  /// Schroff et al., "FaceNet", 2015, equation 3, in LibTorch's form: inputs {anchor, positive, negative} (N, D):
  /// max(0, d(a, p) - d(a, n) + margin).
  [[nodiscard]] static CustomLossFunction triplet(const TripletOptions& options = {});

  /// A scalar, or the losses with Reduction::none. Errors: those of the definition's `check`.
  [[nodiscard]] at::Tensor operator()(const Tensors& inputs) const;
  [[nodiscard]] at::Tensor operator()(const at::Tensor& input, const at::Tensor& target) const {
    return (*this)(Tensors{input, target});
  }

 private:
  std::shared_ptr<const LossDefinition> definition_;
  Reduction reduction_;
};

}  // namespace gradwise
