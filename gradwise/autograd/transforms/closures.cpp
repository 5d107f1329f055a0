#include "gradwise/autograd/transforms/closures.h"

#include "gradwise/autograd/transforms/fallback.h"
#include "gradwise/autograd/transforms/jacobian_rows.h"
#include "gradwise/autograd/transforms/layer.h"
#include "gradwise/autograd/transforms/recorded.h"
#include "gradwise/autograd/transforms/recorded_twice.h"
#include "gradwise/core/error.h"

namespace gradwise {
namespace {

// How many closures are being run for a transform in this thread: what the inner ones give is differentiated.
thread_local int closures_under_way = 0;

class UnderWay {
 public:
  UnderWay() { ++closures_under_way; }
  ~UnderWay() { --closures_under_way; }
  UnderWay(const UnderWay&) = delete;
  UnderWay& operator=(const UnderWay&) = delete;
};

detail::Recorded recorded_closure(const char* place, const Closure& closure, const NamedParameters& parameters,
                                  std::int64_t aux) {
  GRADWISE_CHECK(closure.run() != nullptr, place, "there is no closure");
  GRADWISE_CHECK(!inside_transform(), place, "a closure can't be differentiated inside of a transform over a function",
                 ", allowed: a function with the parameters as arguments");
  const NamedParameters trainable = parameters.trainable();
  GRADWISE_CHECK(trainable.size() > 0, place, "no parameter asks for a gradient");
  const bool nested = closures_under_way > 0;
  const UnderWay under_way;
  return detail::record_captured(place, closure.run(), trainable.tensors, aux, nested);
}

JacobianOptions row_options(const char* place, const RowOptions& options) {
  JacobianOptions rows{.chunk_size = options.chunk_size, .memory_bound = options.memory_bound};
  detail::check_chunks(place, rows);
  return rows;
}

}  // namespace

ValueAndGrad value_and_grad(const Closure& closure, const NamedParameters& parameters, std::int64_t aux) {
  return detail::value_and_grad_of("value_and_grad", recorded_closure("value_and_grad", closure, parameters, aux));
}

Tensors grad(const Closure& closure, const NamedParameters& parameters, std::int64_t aux) {
  ValueAndGrad found = detail::value_and_grad_of("grad", recorded_closure("grad", closure, parameters, aux));
  found.gradients.insert(found.gradients.end(), found.aux.begin(), found.aux.end());
  return std::move(found.gradients);
}

Vjp vjp(const Closure& closure, const NamedParameters& parameters, std::int64_t aux) {
  return detail::vjp_of(recorded_closure("vjp", closure, parameters, aux));
}

Jvp jvp(const Closure& closure, const NamedParameters& parameters, const Tensors& tangents, std::int64_t aux) {
  detail::check_tangents("jvp", parameters.trainable().tensors, tangents);
  const detail::TransposedTwice twice("jvp", recorded_closure("jvp", closure, parameters, aux));
  return {twice.recorded.values, twice.product(tangents), twice.recorded.aux, /*forward_mode=*/false};
}

Linearized linearize(const Closure& closure, const NamedParameters& parameters, std::int64_t aux) {
  return detail::linearized(recorded_closure("linearize", closure, parameters, aux), parameters.trainable().tensors);
}

Tensors jacobian(const Closure& closure, const NamedParameters& parameters, const RowOptions& options,
                 std::int64_t aux) {
  const JacobianOptions rows = row_options("jacobian", options);
  const detail::Recorded recorded = recorded_closure("jacobian", closure, parameters, aux);
  if (options.mode == JacobianMode::forward) {
    return detail::column_jacobian(recorded, rows);
  }
  if (options.mode == JacobianMode::automatic && detail::columns_are_fewer(recorded)) {
    // A backward without a derivative of its own: rows need none.
    return detail::first_or_else([&] { return detail::column_jacobian(recorded, rows); },
                                 [&] { return detail::reverse_jacobian(recorded, rows); });
  }
  return detail::reverse_jacobian(recorded, rows);
}

Tensors hessian(const Closure& closure, const NamedParameters& parameters, const RowOptions& options,
                std::int64_t aux) {
  const JacobianOptions rows = row_options("hessian", options);
  return detail::hessian_of("hessian", recorded_closure("hessian", closure, parameters, aux), rows);
}

Hvp hvp(const Closure& closure, const NamedParameters& parameters, const Tensors& vectors, std::int64_t aux) {
  detail::check_tangents("hvp", parameters.trainable().tensors, vectors);
  return detail::hvp_of(recorded_closure("hvp", closure, parameters, aux), vectors);
}

}  // namespace gradwise
