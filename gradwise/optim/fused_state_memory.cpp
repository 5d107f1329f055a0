// Where the state of a FusedOptimizer lies: one piece of memory for all of a type, and when it has to move.
#include <ATen/ops/zeros_like.h>

#include <map>
#include <memory>
#include <utility>

#include "gradwise/core/tensor_memory.h"
#include "gradwise/optim/fused_optimizer.h"
#include "gradwise/optim/parameter_memory.h"

namespace gradwise {
namespace {

// Whether a parameter's memory can take the pass.
bool fits_pass(const FusedOptions& options, const at::Tensor& parameter) {
  return kernels_read(parameter) && parameter.is_non_overlapping_and_dense() && !options.parity;
}

// ATen's operators want one type.
at::ScalarType state_type(const FusedOptions& options, const at::Tensor& parameter) {
  if (!fits_pass(options, parameter)) {
    return parameter.scalar_type();
  }
  return parameter.scalar_type() == at::kDouble ? at::kDouble : options.bfloat16_state ? at::kBFloat16 : at::kFloat;
}

}  // namespace

FusedOptimizer::ArenaKind FusedOptimizer::arena_kind(std::size_t index) {
  const at::Tensor& parameter = ordered_[index];
  const at::Device device = parameter.device();
  return {state_type(options_of(slots_[index]), parameter), device.type(), device.index()};
}

bool FusedOptimizer::trains(std::size_t index) const {
  return slots_[index].trains || ordered_[index].requires_grad() || ordered_[index].grad().defined();
}

// Frozen parameters may share memory as they like.
void FusedOptimizer::refuse_shared_parameters() const {
  std::vector<at::Tensor> trained(ordered_.size());
  for (std::size_t i = 0; i < ordered_.size(); ++i) {
    if (slots_[i].trains) {
      trained[i] = ordered_[i];
    }
  }
  refuse_shared_memory(trained);
}

// A parameter may have got other memory, of another shape.
void FusedOptimizer::refuse_other_states() {
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const FusedState* known = state_at(i);
    if (known == nullptr) {
      continue;
    }
    for (const at::Tensor* line : {&known->first, &known->second, &known->third}) {
      GRADWISE_CHECK(!line->defined() || line->sizes() == ordered_[i].sizes(), "optimizer", "parameter ", i, " is ",
                     ordered_[i].sizes(), ", and its state is of ", line->sizes(),
                     ", allowed: the shape that it had, or a state without this parameter");
    }
  }
}

FusedState* FusedOptimizer::state_at(std::size_t place) {
  if (arranged_) {
    return slots_[place].state;
  }
  const auto found = state().find(ordered_[place].unsafeGetTensorImpl());
  return found == state().end() ? nullptr : static_cast<FusedState*>(found->second.get());
}

// Takes memory for all states at once, and moves into it those that are there already.
void FusedOptimizer::arrange() {
  arranged_ = false;  // where it throws, the next step begins here again
  ++layout_;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    slots_[i].trains = trains(i) || state_at(i) != nullptr;
  }
  refuse_shared_parameters();
  refuse_other_states();
  std::map<ArenaKind, std::int64_t> needed;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (!slots_[i].trains) {
      continue;
    }
    const at::Tensor& parameter = ordered_[i];
    const FusedOptions& options = options_of(slots_[i]);
    slots_[i].fits = fits_pass(options, parameter);
    const StateLines lines = state_lines(options);
    slots_[i].type = parameter.scalar_type();
    slots_[i].device = parameter.device();
    slots_[i].sizes.assign(parameter.sizes().begin(), parameter.sizes().end());
    slots_[i].strides.assign(parameter.strides().begin(), parameter.strides().end());
    slots_[i].lines = lines;
    needed[arena_kind(i)] +=
        (int{lines.first} + int{lines.second} + int{lines.third}) * StateArena::padded(parameter.numel());
  }
  arenas_.clear();
  for (const auto& [kind, elements] : needed) {
    const auto& [type, device, device_index] = kind;
    arenas_.emplace(kind, StateArena(elements, at::TensorOptions(at::Device(device, device_index)).dtype(type)));
  }
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    slots_[i].state = nullptr;
    const auto found = state().find(ordered_[i].unsafeGetTensorImpl());
    if (found != state().end()) {
      slots_[i].state = &static_cast<FusedState&>(*found->second);
      place_lines(i, *slots_[i].state);
    }
  }
  arranged_ = true;
}

// A state that was made with other options may lack a line, which then begins anew.
void FusedOptimizer::place_lines(std::size_t index, FusedState& parameter_state) {
  const at::Tensor& parameter = ordered_[index];
  const FusedOptions& options = options_of(slots_[index]);
  StateArena& arena = arenas_.at(arena_kind(index));
  const auto place = [&](at::Tensor& line, bool wanted, double start) {
    if (!wanted) {
      line = at::Tensor();
      return;
    }
    at::Tensor placed = parameter.is_non_overlapping_and_dense()
                            ? arena.take(parameter)
                            : at::zeros_like(parameter, at::TensorOptions(state_type(options, parameter)));
    if (line.defined()) {
      placed.copy_(line);
    } else if (start != 0) {
      placed.fill_(start);
    }
    line = std::move(placed);
  };
  const StateLines lines = state_lines(options);
  place(parameter_state.first, lines.first, 0);
  place(parameter_state.second, lines.second, options.rule == UpdateRule::adagrad ? options.initial_accumulator : 0);
  place(parameter_state.third, lines.third, 0);
}

FusedState& FusedOptimizer::state_of(std::size_t index) {
  Slot& slot = slots_[index];
  if (slot.state == nullptr) {
    auto fresh = std::make_unique<FusedState>(options_of(slot).rule);
    place_lines(index, *fresh);
    ++layout_;
    slot.state = fresh.get();
    state()[ordered_[index].unsafeGetTensorImpl()] = std::move(fresh);
  }
  return *slot.state;
}

}  // namespace gradwise
