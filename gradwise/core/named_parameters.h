#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

namespace gradwise {

/// Parameters (or buffers) of a model with their dotted names, in the model's order; tensors share storage with the
/// model. Every algorithm of Gradwise works on this, so that any kind of model can be served.
struct NamedParameters {
  std::vector<std::string> names;
  std::vector<at::Tensor> tensors;

  [[nodiscard]] std::size_t size() const { return tensors.size(); }
  /// Number of elements over all tensors.
  [[nodiscard]] std::int64_t numel() const;
  /// Only the parameters that ask for a gradient.
  [[nodiscard]] NamedParameters trainable() const;
  /// Those that one of the patterns of `matches_pattern` matches, in this order; all where there is no pattern. Throws
  /// an Error of `place` for a pattern that matches none.
  [[nodiscard]] NamedParameters matching(const std::vector<std::string>& patterns, const char* place) const;
  /// Position of a name; throws an Error with the nearest known name where there is none.
  [[nodiscard]] std::size_t index(const std::string& name) const;
  void add(std::string name, at::Tensor tensor);
  /// Throws an Error of `place` where two have the same name: what is told of them could not be told apart.
  void check_names(const char* place) const;
  /// Throws an Error of `place` for one that asks for a gradient and is complex: its real part alone would count.
  void check_types(const char* place) const;
};

}  // namespace gradwise
