#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
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

/// While it lives, writes down every operator of this thread that gives inf or NaN, in the order in which they end.
class OperatorLog {
 public:
  explicit OperatorLog(const NamedParameters& parameters);
  ~OperatorLog();
  OperatorLog(const OperatorLog&) = delete;
  OperatorLog& operator=(const OperatorLog&) = delete;

  [[nodiscard]] const std::vector<LoggedOperator>& operators() const { return operators_; }

  // What the observers call.
  void begin_node(std::string name, std::int64_t sequence);
  void end_node() { node_.clear(); }
  void note_parameters(const std::vector<at::Tensor>& inputs, std::int64_t sequence);
  void note_result(const char* name, std::vector<TensorFacts> inputs, const std::vector<at::Tensor>& outputs);

 private:
  std::unordered_map<const void*, std::string> layers_;              // of parameters, by their memory
  std::unordered_map<std::int64_t, std::string> layer_by_sequence_;  // of forward operators, for their backward
  std::string layer_;
  std::string node_;
  std::int64_t position_ = 0;
  std::vector<LoggedOperator> operators_;
  std::uint64_t handle_ = 0;
};

}  // namespace gradwise
