#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gradwise/core/event.h"
#include "gradwise/record/sqlite.h"

namespace gradwise {

/// The tables of a run store that hold what was seen of parameters and activations.
[[nodiscard]] const char* reading_schema();

/// Removes what came after `step`.
[[nodiscard]] std::string forget_readings_after(std::int64_t step);

/// Writes readings, within the caller's transaction.
class ReadingWriter {
 public:
  explicit ReadingWriter(const Database& database);
  void store(const WatchedStep& seen);

 private:
  void store_parameters(const RunFacts& facts);
  void store_parameter(std::int64_t step, std::int64_t position, const ParameterReading& p);
  void store_activation(std::int64_t step, std::int64_t position, const ActivationReading& a);

  Statement parameter_, reading_, histogram_, activation_, batch_norm_, step_;
  std::shared_ptr<const RunFacts> stored_facts_;  // held, that no other one takes its address
};

[[nodiscard]] std::vector<ParameterFacts> read_parameters(const Database& database);
/// Readings of the steps after `after`, in order, without their batches and loss paths.
[[nodiscard]] std::vector<std::shared_ptr<const StepReading>> read_readings(const Database& database,
                                                                            std::int64_t after);

}  // namespace gradwise
