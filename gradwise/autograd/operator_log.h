#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gradwise/autograd/tensor_facts.h"
#include "gradwise/core/named_parameters.h"

namespace gradwise {

/// An operator whose output was not finite.
struct LoggedOperator {
  std::string name;
  std::string node;  ///< the node of the graph it ran in; "" in forward
  std::string layer;
  std::int64_t position = 0;
  std::vector<TensorFacts> inputs;
  TensorFacts output;

  [[nodiscard]] bool given_nan() const;
  [[nodiscard]] bool given_inf() const;
};

/// While it lives, writes down every operator of this thread that gives inf or NaN, in the order in which they end;
/// those too that run in other threads for it, as backward does for other devices.
class OperatorLog {
 public:
  explicit OperatorLog(const NamedParameters& parameters);
  ~OperatorLog();
  OperatorLog(const OperatorLog&) = delete;
  OperatorLog& operator=(const OperatorLog&) = delete;

  [[nodiscard]] std::vector<LoggedOperator> operators() const;

 private:
  class Record;
  struct Scope;
  std::shared_ptr<Record> record_;
  std::unique_ptr<Scope> scope_;
};

}  // namespace gradwise
