#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gradwise/core/fields.h"
#include "gradwise/core/named_parameters.h"
#include "gradwise/core/reading.h"

namespace gradwise {

struct AutogradHooksOptions {
  std::vector<std::string> patterns = {"*"};
  bool parameter_gradients = true;
  bool activations = true;
  bool activation_gradients = true;
  bool keep_tensors = false;
};

template <class Fields>
void describe(Fields& fields, AutogradHooksOptions& o) {
  fields.add("patterns", o.patterns, "names of parameters and layers that are hooked, with * and ?", anything());
  fields.add("parameter_gradients", o.parameter_gradients, "hook the gradients of parameters", anything());
  fields.add("activations", o.activations, "record the outputs of layers that are observed", anything());
  fields.add("activation_gradients", o.activation_gradients, "and the gradients that reach them", anything());
  fields.add("keep_tensors", o.keep_tensors, "keep the tensors themselves, not figures alone", anything());
}

enum class HookKind { parameter_gradient, activation, activation_gradient };

/// What a hook saw last. Figures are of the finite elements; `deviation` is of the population.
struct HookRecord {
  HookKind kind = HookKind::parameter_gradient;
  std::string name;        ///< of the parameter or the layer
  std::int64_t times = 0;  ///< that it fired
  std::vector<std::int64_t> shape;
  double norm = kNotMeasured;  ///< L2
  double mean = kNotMeasured;
  double deviation = kNotMeasured;
  double min = kNotMeasured;
  double max = kNotMeasured;
  double zeros = kNotMeasured;      ///< share of the elements
  double nonfinite = kNotMeasured;  ///< share of the elements
  at::Tensor tensor = {};           ///< detached; undefined unless `keep_tensors`
};

/// Hooks on a model: gradients of its parameters, outputs of its layers, and the gradients that reach those. They cost
/// nothing where nothing is attached.
///
///   AutogradHooks hooks(model.parameters, {.patterns = {"encoder.*"}});
///   hooks.observe("encoder.3", output);  // in the forward pass; adapters/module_hooks.h does it for layers
///   loss.backward();
///   for (const HookRecord& seen : hooks.records()) std::printf("%s %g\n", seen.name.c_str(), seen.norm);
///
/// A parameter's hook sees the gradient of each backward pass, before it is accumulated. Figures stay on the tensors'
/// device until `records` fetches them. Hooks may fire in any thread. Records that a new pass overwrites are gone;
/// `times` says how many there were.
class AutogradHooks {
 public:
  /// Errors: a pattern that no parameter matches is none (it may be a layer's).
  explicit AutogradHooks(const NamedParameters& parameters, AutogradHooksOptions options = {});
  /// Removes all hooks.
  ~AutogradHooks();
  AutogradHooks(const AutogradHooks&) = delete;
  AutogradHooks& operator=(const AutogradHooks&) = delete;

  /// Records a layer's output, and hooks its gradient where it has one. Outputs of layers that no pattern matches are
  /// passed over.
  void observe(const std::string& layer, const at::Tensor& output);

  /// What was seen, in the order in which it was seen first.
  [[nodiscard]] std::vector<HookRecord> records() const;
  /// One of them; an Error with the nearest known name where there is none.
  [[nodiscard]] HookRecord record(HookKind kind, const std::string& name) const;
  /// Forgets the records; the hooks stay.
  void clear();
  /// Takes the hooks away; the records stay. Outputs that were observed before keep no hook that does anything.
  void remove();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace gradwise
