#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "gradwise/autograd/transforms/vjp.h"

namespace gradwise::detail {

/// One run of a function that can be differentiated by some of its arguments.
struct Recorded {
  Tensors inputs;   ///< of argnums, as the graph knows them
  Tensors outputs;  ///< as the graph knows them
  Tensors values;   ///< the outputs as the caller sees them
  Tensors aux;
  bool differentiable = false;  ///< something beyond `inputs` may want to go through the gradients
};

/// `place` is the transform's, for errors.
[[nodiscard]] Recorded record(const char* place, const TensorFunction& function, const Tensors& arguments,
                              const TransformOptions& options);

/// The same of a function that reads `inputs` by itself: tensors that ask for a gradient. `nested`: the results go into
/// a function that is being differentiated by the same inputs.
[[nodiscard]] Recorded record_captured(const char* place, const std::function<Tensors()>& function,
                                       const Tensors& inputs, std::int64_t aux, bool nested);

/// How many of a function's results are outputs; the rest are aux results. Takes the mark of kMarkedAux out. Error:
/// none is an output, or there is no mark.
[[nodiscard]] std::size_t count_outputs(const char* place, Tensors& results, std::int64_t aux);

/// Gradients of the recorded inputs, zeros where there are none. With a graph, what a user's function loses of it is
/// marked for check_goes_on.
[[nodiscard]] Tensors pull_back(const Recorded& recorded, const Tensors& cotangents, bool create_graph);

/// Whether products with the tensors of `given` are to have a graph: by what was recorded, or by `given` itself.
[[nodiscard]] bool wants_graph(const Recorded& recorded, const Tensors& given);

/// argnums counted from the front, checked.
[[nodiscard]] std::vector<std::size_t> positions(const char* place, const TransformOptions& options,
                                                 std::size_t arguments);

/// The argnums of a function that is differentiated by everything.
[[nodiscard]] std::vector<std::int64_t> all_arguments(std::size_t arguments);

/// Error: a tensor that is not floating; one that is complex, with a word of its own. `name`: "output", say.
void check_real(const char* place, const char* name, std::size_t number, const at::Tensor& tensor);

/// Error: several outputs, or one that is no scalar.
void check_scalar(const char* place, const Recorded& recorded);

/// The products with what was recorded.
[[nodiscard]] Vjp vjp_of(Recorded recorded);

/// Value and gradients of what was recorded; the errors are those of `place`.
[[nodiscard]] ValueAndGrad value_and_grad_of(const char* place, Recorded recorded);

/// value_and_grad with the errors of `place`.
[[nodiscard]] ValueAndGrad value_and_grad_at(const char* place, const TensorFunction& function,
                                             const Tensors& arguments, const TransformOptions& options);

}  // namespace gradwise::detail
