#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

#include "gradwise/autograd/transforms/jacobian.h"
#include "gradwise/autograd/transforms/jvp.h"
#include "gradwise/core/named_parameters.h"

/// The transforms over a closure that reads the parameters of a model by itself, for models of any kind:
///
///   const Closure loss([&] { return make_loss("mse")(model.forward(batch), batch.target); });
///   const Tensors gradients = grad(loss, model.parameters);
///   const Tensors products = hvp(loss, model.parameters, gradients).products;
///
/// They run the closure at once, at the parameters as they are, and differentiate by `parameters.trainable()`; results
/// and vectors stand in that order. `.grad` fields stay as they are. Inside of another closure's transform they nest to
/// any order. Outside of one the parameters count as constants; by other tensors that the closure captures and that ask
/// for a gradient, results can be differentiated as usual. All of them work in reverse mode: forward mode wraps the
/// arguments of a function, and a closure has none.
///
/// Errors of all of them: no closure; no parameter that asks for a gradient; inside of a transform over a plain
/// function (there the parameters are to be its arguments); no output, or one that is not floating.
namespace gradwise {

/// A function without arguments and with one result or several.
class Closure {
 public:
  template <class Function>
    requires(!std::same_as<std::remove_cvref_t<Function>, Closure> && std::is_invocable_v<Function&>)
  // NOLINTNEXTLINE(google-explicit-constructor): any callable will do
  Closure(Function function) {
    if constexpr (requires { function == nullptr; }) {
      if (function == nullptr) {
        return;
      }
    }
    if constexpr (std::convertible_to<std::invoke_result_t<Function&>, at::Tensor>) {
      run_ = [function = std::move(function)]() mutable { return Tensors{function()}; };
    } else {
      run_ = std::move(function);
    }
  }

  [[nodiscard]] const std::function<Tensors()>& run() const { return run_; }

 private:
  std::function<Tensors()> run_;
};

/// As in JacobianOptions: how many rows (columns) of a Jacobian are computed at once, and which of the two.
struct RowOptions {
  std::optional<std::int64_t> chunk_size = {};
  std::int64_t memory_bound = 0;
  /// Of a Jacobian alone; a Hessian is computed by rows. `forward` takes two backward passes a column, as `jvp` does,
  /// without running the closure again.
  JacobianMode mode = JacobianMode::automatic;
};

/// Of a closure whose first result is a scalar; the last `aux` results are handed on. Error: several outputs, or one
/// that is no scalar.
[[nodiscard]] ValueAndGrad value_and_grad(const Closure& closure, const NamedParameters& parameters,
                                          std::int64_t aux = 0);

/// The gradients alone, and behind them the aux results.
[[nodiscard]] Tensors grad(const Closure& closure, const NamedParameters& parameters, std::int64_t aux = 0);

/// Outputs, and a function from their cotangents to the parameters' gradients.
[[nodiscard]] Vjp vjp(const Closure& closure, const NamedParameters& parameters, std::int64_t aux = 0);

/// Outputs and their tangents, by two backward passes.
[[nodiscard]] Jvp jvp(const Closure& closure, const NamedParameters& parameters, const Tensors& tangents,
                      std::int64_t aux = 0);

/// Outputs, and the derivative as a function of the parameters' tangents that does not run the closure again.
[[nodiscard]] Linearized linearize(const Closure& closure, const NamedParameters& parameters, std::int64_t aux = 0);

/// For each output and each parameter a tensor of the output's shape followed by the parameter's, in the order
/// (output 0, parameters...), (output 1, ...), and then the aux results.
[[nodiscard]] Tensors jacobian(const Closure& closure, const NamedParameters& parameters,
                               const RowOptions& options = {}, std::int64_t aux = 0);

/// Of a scalar closure: for each pair of parameters a tensor of the first's shape followed by the second's, row by row,
/// and then the aux results.
[[nodiscard]] Tensors hessian(const Closure& closure, const NamedParameters& parameters, const RowOptions& options = {},
                              std::int64_t aux = 0);

/// Value, gradients and the products of the Hessian with `vectors`, one a parameter: reverse over reverse.
[[nodiscard]] Hvp hvp(const Closure& closure, const NamedParameters& parameters, const Tensors& vectors,
                      std::int64_t aux = 0);

}  // namespace gradwise
