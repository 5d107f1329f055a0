#include "gradwise/autograd/operator_log.h"

#include <ATen/core/ivalue.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <memory>
#include <utility>

namespace gradwise {
namespace {

thread_local OperatorLog* running_log = nullptr;
thread_local bool looking = false;  // our own operators are none of the model's

std::vector<at::Tensor> tensors_of(c10::ArrayRef<const c10::IValue> values) {
  std::vector<at::Tensor> tensors;
  for (const c10::IValue& value : values) {
    if (value.isTensor() && value.toTensor().defined()) {
      tensors.push_back(value.toTensor());
    } else if (value.isTensorList()) {
      for (const at::Tensor& tensor : value.toTensorVector()) {
        if (tensor.defined()) {
          tensors.push_back(tensor);
        }
      }
    }
  }
  return tensors;
}

struct Call : at::ObserverContext {
  std::vector<TensorFacts> inputs;  // as they were before: an operator may work in place
};

bool is_node(const at::RecordFunction& call) { return call.scope() == at::RecordScope::BACKWARD_FUNCTION; }

std::unique_ptr<at::ObserverContext> begin(const at::RecordFunction& call) {
  auto context = std::make_unique<Call>();
  if (running_log == nullptr || looking) {
    return context;
  }
  if (is_node(call)) {
    running_log->begin_node(call.name(), call.seqNr());
    return context;
  }
  looking = true;
  const std::vector<at::Tensor> inputs = tensors_of(call.inputs());
  running_log->note_parameters(inputs, call.seqNr());
  for (const at::Tensor& input : inputs) {
    context->inputs.push_back(facts_of(input));
  }
  looking = false;
  return context;
}

void end(const at::RecordFunction& call, at::ObserverContext* context) {
  if (running_log == nullptr || looking) {
    return;
  }
  if (is_node(call)) {
    running_log->end_node();
    return;
  }
  looking = true;
  std::vector<at::Tensor> outputs;
  for (const c10::IValue& value : call.outputs()) {
    if (value.isTensor() && value.toTensor().defined()) {
      outputs.push_back(value.toTensor());
    }
  }
  running_log->note_result(call.name(), std::move(static_cast<Call*>(context)->inputs), outputs);
  looking = false;
}

}  // namespace

bool LoggedOperator::given_nan() const {
  return std::any_of(inputs.begin(), inputs.end(), [](const TensorFacts& f) { return f.nans > 0; });
}

bool LoggedOperator::given_inf() const {
  return std::any_of(inputs.begin(), inputs.end(), [](const TensorFacts& f) { return f.infs > 0; });
}

OperatorLog::OperatorLog(const NamedParameters& parameters) {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const std::string& name = parameters.names[i];
    const std::size_t dot = name.rfind('.');
    layers_[parameters.tensors[i].const_data_ptr()] = dot == std::string::npos ? name : name.substr(0, dot);
  }
  running_log = this;
  handle_ = at::addThreadLocalCallback(at::RecordFunctionCallback(begin, end)
                                           .needsInputs(true)
                                           .needsOutputs(true)
                                           .scopes({at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION}));
}

OperatorLog::~OperatorLog() {
  at::removeCallback(handle_);
  running_log = nullptr;
}

void OperatorLog::begin_node(std::string name, std::int64_t sequence) {
  node_ = std::move(name);
  const auto found = layer_by_sequence_.find(sequence);
  layer_ = found == layer_by_sequence_.end() ? layer_ : found->second;
}

void OperatorLog::note_parameters(const std::vector<at::Tensor>& inputs, std::int64_t sequence) {
  for (const at::Tensor& input : inputs) {
    const auto found = node_.empty() && input.has_storage() ? layers_.find(input.const_data_ptr()) : layers_.end();
    if (found != layers_.end()) {
      layer_ = found->second;
    }
  }
  if (node_.empty() && sequence >= 0) {
    layer_by_sequence_[sequence] = layer_;
  }
}

void OperatorLog::note_result(const char* name, std::vector<TensorFacts> inputs,
                              const std::vector<at::Tensor>& outputs) {
  ++position_;
  for (const at::Tensor& output : outputs) {
    TensorFacts facts = facts_of(output);
    if (!facts.finite()) {
      operators_.push_back({name, node_, layer_, position_ - 1, std::move(inputs), std::move(facts)});
      return;
    }
  }
}

}  // namespace gradwise
