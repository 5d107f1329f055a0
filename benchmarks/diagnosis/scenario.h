#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gradwise/core/fields.h"

namespace gradwise::bench {

/// One training program whose fault is known. Everything follows from these words and the seed.
struct Scenario {
  std::string architecture = "mlp";
  std::string data = "blobs";
  std::string optimizer = "adamw";
  std::string fault = "none";
  double severity = 1;
  std::int64_t seed = 1;
  std::int64_t depth = 3;
  std::int64_t width = 32;
  std::int64_t steps = 300;
  std::int64_t batch_size = 32;
};

template <class Fields>
void describe(Fields& fields, Scenario& o) {
  fields.add("architecture", o.architecture, "kind of network",
             one_of({"mlp", "tanh_mlp", "cnn", "residual", "recurrent", "transformer"}));
  fields.add("data", o.data, "what it learns", one_of({"fashion", "blobs", "circles", "diabetes", "waves"}));
  fields.add("optimizer", o.optimizer, "how", one_of({"adamw", "sgd", "rmsprop"}));
  fields.add("fault", o.fault, "what is wrong; none: a healthy twin", anything());
  fields.add("severity", o.severity, "how much, 1 is the usual", positive());
  fields.add("seed", o.seed, "of weights, data and order", at_least(0));
  fields.add("depth", o.depth, "layers", at_least(1));
  fields.add("width", o.width, "units of a layer", at_least(2));
  fields.add("steps", o.steps, "optimizer steps", at_least(20));
  fields.add("batch_size", o.batch_size, "samples in a batch", at_least(1));
}

}  // namespace gradwise::bench
