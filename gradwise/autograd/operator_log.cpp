#include "gradwise/autograd/operator_log.h"

#include <ATen/core/ivalue.h>
#include <ATen/record_function.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <utility>

namespace gradwise {
namespace {

// LibTorch carries what is put under it into the threads that run backward for other devices.
constexpr std::string_view kLogName = "GRADWISE_OPERATOR_LOG";
const c10::DebugInfoKind kLogKind(&kLogName);

thread_local bool looking = false;  // our own operators are none of the model's

struct LookingGuard {
  LookingGuard() { looking = true; }
  ~LookingGuard() { looking = false; }
  LookingGuard(const LookingGuard&) = delete;
  LookingGuard& operator=(const LookingGuard&) = delete;
};

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

}  // namespace

bool LoggedOperator::given_nan() const {
  return std::any_of(inputs.begin(), inputs.end(), [](const TensorFacts& f) { return f.nans > 0; });
}

bool LoggedOperator::given_inf() const {
  return std::any_of(inputs.begin(), inputs.end(), [](const TensorFacts& f) { return f.infs > 0; });
}

// What the observers write, from whatever thread.
class OperatorLog::Record : public c10::DebugInfoBase {
 public:
  explicit Record(const NamedParameters& parameters) {
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const std::string& name = parameters.names[i];
      const std::size_t dot = name.rfind('.');
      layers_[parameters.tensors[i].const_data_ptr()] = dot == std::string::npos ? name : name.substr(0, dot);
    }
  }

  static std::unique_ptr<at::ObserverContext> begin(const at::RecordFunction& call) {
    auto context = std::make_unique<Call>();
    Record* record = looking ? nullptr : of_this_thread();
    if (record == nullptr) {
      return context;
    }
    if (is_node(call)) {
      record->begin_node(call.name(), call.seqNr());
      return context;
    }
    const LookingGuard guard;
    const std::vector<at::Tensor> inputs = tensors_of(call.inputs());
    record->note_parameters(inputs, call.seqNr());
    for (const at::Tensor& input : inputs) {
      context->inputs.push_back(facts_of(input));
    }
    return context;
  }

  static void end(const at::RecordFunction& call, at::ObserverContext* context) {
    Record* record = looking ? nullptr : of_this_thread();
    if (record == nullptr) {
      return;
    }
    if (is_node(call)) {
      record->end_node();
      return;
    }
    const LookingGuard guard;
    const std::vector<c10::IValue>& outputs = call.outputs();
    record->note_result(call.name(), std::move(static_cast<Call*>(context)->inputs),
                        tensors_of(c10::ArrayRef<const c10::IValue>(outputs.data(), outputs.size())));
  }

  [[nodiscard]] std::vector<LoggedOperator> operators() const {
    const std::lock_guard lock(mutex_);
    return operators_;
  }

 private:
  // Where a thread is.
  struct Place {
    std::string layer;
    std::string node;
  };

  static Record* of_this_thread() { return static_cast<Record*>(c10::ThreadLocalDebugInfo::get(kLogKind)); }

  Place& place() { return places_[std::this_thread::get_id()]; }

  void begin_node(std::string name, std::int64_t sequence) {
    const std::lock_guard lock(mutex_);
    place().node = std::move(name);
    if (const auto found = layer_by_sequence_.find(sequence); found != layer_by_sequence_.end()) {
      place().layer = found->second;
    }
  }

  void end_node() {
    const std::lock_guard lock(mutex_);
    place().node.clear();
  }

  void note_parameters(const std::vector<at::Tensor>& inputs, std::int64_t sequence) {
    const std::lock_guard lock(mutex_);
    Place& now = place();
    if (!now.node.empty()) {
      return;
    }
    for (const at::Tensor& input : inputs) {
      const auto found = input.has_storage() ? layers_.find(input.const_data_ptr()) : layers_.end();
      if (found != layers_.end()) {
        now.layer = found->second;
      }
    }
    if (sequence >= 0) {
      layer_by_sequence_[sequence] = now.layer;
    }
  }

  void note_result(const char* name, std::vector<TensorFacts> inputs, const std::vector<at::Tensor>& outputs) {
    std::optional<TensorFacts> nonfinite;
    for (const at::Tensor& output : outputs) {
      TensorFacts facts = facts_of(output);
      if (!facts.finite()) {
        nonfinite = std::move(facts);
        break;
      }
    }
    const std::lock_guard lock(mutex_);
    if (nonfinite) {
      const Place& now = place();
      operators_.push_back({name, now.node, now.layer, position_, std::move(inputs), *std::move(nonfinite)});
    }
    ++position_;
  }

  mutable std::mutex mutex_;
  std::unordered_map<const void*, std::string> layers_;              // of parameters, by their memory
  std::unordered_map<std::int64_t, std::string> layer_by_sequence_;  // of forward operators, for their backward
  std::unordered_map<std::thread::id, Place> places_;
  std::int64_t position_ = 0;
  std::vector<LoggedOperator> operators_;
};

struct OperatorLog::Scope {
  explicit Scope(std::shared_ptr<Record> record)
      : guard(kLogKind, std::move(record)),
        handle(
            at::addThreadLocalCallback(at::RecordFunctionCallback(Record::begin, Record::end)
                                           .needsInputs(true)
                                           .needsOutputs(true)
                                           .scopes({at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION}))) {}
  ~Scope() { at::removeCallback(handle); }
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

  c10::DebugInfoGuard guard;
  at::CallbackHandle handle;
};

OperatorLog::OperatorLog(const NamedParameters& parameters)
    : record_(std::make_shared<Record>(parameters)), scope_(std::make_unique<Scope>(record_)) {}

OperatorLog::~OperatorLog() = default;

std::vector<LoggedOperator> OperatorLog::operators() const { return record_->operators(); }

}  // namespace gradwise
