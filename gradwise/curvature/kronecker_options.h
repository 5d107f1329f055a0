#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "gradwise/core/fields.h"

namespace gradwise {

struct KroneckerOptions {
  bool corrected = false;                    ///< EKFAC: eigenvalues from the projected gradients of the samples
  std::vector<std::string> parameters = {};  ///< patterns of names; empty: all trainable ones
  std::string unsupported = "refuse";        ///< or leave_out: parameters that no linear or convolution layer takes
  std::string weight_sharing = "expand";     ///< of a sample's positions: expand, reduce
  std::string reduction = "mean";            ///< of the loss over samples, and so of the matrix: mean, sum
  bool check_deterministic = true;           ///< refuse outputs that differ between two passes, and samples that mix
  /// Told of each mini-batch that is done; the correction goes over them a second time.
  std::function<void(std::int64_t done, std::int64_t total)> progress = nullptr;
};

template <class Fields>
void describe(Fields& fields, KroneckerOptions& o) {
  fields.add("corrected", o.corrected, "eigenvalues from the projected gradients of the samples", anything());
  fields.add("parameters", o.parameters, "patterns of the names of the parameters, all trainable ones where empty",
             anything());
  fields.add("unsupported", o.unsupported, "what becomes of parameters that no linear or convolution layer takes",
             one_of({"refuse", "leave_out"}));
  fields.add("weight_sharing", o.weight_sharing, "how a sample's positions, which share a weight, count",
             one_of({"expand", "reduce"}));
  fields.add("reduction", o.reduction, "how the loss, and so the matrix, goes over samples", one_of({"mean", "sum"}));
  fields.add("check_deterministic", o.check_deterministic,
             "refuse a model that differs from pass to pass, or whose samples mix", anything());
}

}  // namespace gradwise
