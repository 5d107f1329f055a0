#pragma once

#include <string>
#include <vector>

#include "benchmarks/diagnosis/network.h"
#include "benchmarks/diagnosis/samples.h"
#include "benchmarks/diagnosis/scenario.h"
#include "gradwise/optim/optimizer_options.h"
#include "gradwise/train/loop_options.h"

namespace gradwise::bench {

/// A training program in parts, each of which a fault may change.
struct Program {
  Scenario scenario;
  Samples samples;
  Samples as_stored;  ///< the same before any fault
  NetworkOptions network;
  OptimizerOptions optimizer;
  LoopOptions loop;
  bool shuffled = true;
  bool keeps_gradients = false;   ///< zero_grad is missing
  std::int64_t spikes_every = 0;  ///< every so many batches one is 1,000 times too large
  bool stale_state = false;       ///< the optimizer's moments are of another training
  std::string loss;               ///< "cross_entropy", "nll" or "mse"
};

/// A fault of a known cause: what it does to a healthy program, and how a diagnosis may rightly name it.
struct Fault {
  std::string name;
  std::vector<std::string> causes;         ///< names that are right
  std::vector<std::string> architectures;  ///< that it is tried on; empty: all
  bool for_classes_only = false;
  std::string layer;  ///< where it is; "" where it has no place
  void (*inject)(Program&, double severity);
};

[[nodiscard]] const std::vector<Fault>& faults();
[[nodiscard]] const Fault& fault_named(const std::string& name);

/// The healthy program of a scenario.
[[nodiscard]] Program healthy_program(const Scenario& scenario);

}  // namespace gradwise::bench
