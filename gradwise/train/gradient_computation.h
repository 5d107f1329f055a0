#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gradwise/autograd/functions/gradcheck.h"
#include "gradwise/autograd/functions/gradients.h"
#include "gradwise/autograd/transforms/jacobian.h"
#include "gradwise/autograd/transforms/jvp.h"
#include "gradwise/core/named_parameters.h"
#include "gradwise/optim/clipping.h"

namespace gradwise {

/// The value of a function, and cotangents times its Jacobian.
struct VectorJacobianProduct {
  Tensors outputs;
  Tensors gradients;
};

/// Gradients of any order, of functions and of parameters, under one name with the names of
/// `gradwise.autograd_utils.GradientComputationUtils` in Python. Functions are differentiated by all of their inputs;
/// the headers included above have every option, and the transforms over closures.
///
///   const Tensors slopes = GradientComputationUtils::gradients({loss}, model.parameters.tensors);
///   const double before = GradientComputationUtils::clip_gradients(model.parameters, {.max_norm = 1.0});
class GradientComputationUtils {
 public:
  GradientComputationUtils() = delete;

  /// gradwise::gradients.
  [[nodiscard]] static Tensors gradients(const Tensors& outputs, const Tensors& inputs,
                                         const Tensors& grad_outputs = {}, const GradientsOptions& options = {});
  /// A tensor for each output and input; gradwise::jacobian.
  [[nodiscard]] static Tensors jacobian(const TensorFunction& function, const Tensors& inputs,
                                        JacobianMode mode = JacobianMode::automatic,
                                        std::optional<std::int64_t> chunk_size = std::nullopt);
  /// A tensor for each pair of inputs, row by row; gradwise::hessian.
  [[nodiscard]] static Tensors hessian(const TensorFunction& function, const Tensors& inputs,
                                       std::optional<std::int64_t> chunk_size = std::nullopt);
  [[nodiscard]] static VectorJacobianProduct vjp(const TensorFunction& function, const Tensors& inputs,
                                                 const Tensors& cotangents);
  [[nodiscard]] static Jvp jvp(const TensorFunction& function, const Tensors& inputs, const Tensors& tangents);
  [[nodiscard]] static Hvp hessian_vector_product(const TensorFunction& function, const Tensors& inputs,
                                                  const Tensors& vectors);

  /// The norm over all gradients that the parameters hold, of the order `norm_type` (above 0, infinity too): that of
  /// the vector of each one's norm. 0 where there are none.
  [[nodiscard]] static double gradient_norm(const NamedParameters& parameters, double norm_type = 2);
  /// The norm of each parameter's gradient, by name; parameters without one are left out.
  [[nodiscard]] static std::vector<std::pair<std::string, double>> layer_gradient_norms(
      const NamedParameters& parameters, double norm_type = 2);
  /// In place, by the method of the options: to a global norm, by value, adaptively by unit. Gives the L2 norm before.
  /// Errors: an option that is out of bounds; a sparse gradient where the method is not "norm".
  static double clip_gradients(const NamedParameters& parameters, const ClipOptions& options = {});

  /// gradwise::gradient_penalty.
  [[nodiscard]] static at::Tensor gradient_penalty(const at::Tensor& output, const at::Tensor& input,
                                                   double target = 1.0);
  /// Adds `weight` times the gradients of a scalar to the `.grad` of the parameters that ask for one: a mini-batch in
  /// parts is each part's mean loss with its share of the samples as weight. A parameter that the scalar does not
  /// depend on keeps what it has. Errors: no parameter that asks for a gradient, no scalar, no graph.
  static void accumulate_gradients(const at::Tensor& loss, const NamedParameters& parameters, double weight = 1);

  /// gradwise::gradcheck and gradwise::gradgradcheck.
  static bool gradcheck(const TensorFunction& function, const Tensors& inputs, const GradcheckOptions& options = {});
  static bool gradgradcheck(const TensorFunction& function, const Tensors& inputs,
                            const GradcheckOptions& options = {});
};

}  // namespace gradwise
