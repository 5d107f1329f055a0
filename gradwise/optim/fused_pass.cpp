// The pass of a FusedOptimizer over memory. Where tensors are small, finding their memory takes as long as updating it:
// threads do both side by side.
#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>
#include <c10/core/impl/COW.h>

#include <algorithm>
#include <atomic>

#include "gradwise/core/error.h"
#include "gradwise/core/tensor_memory.h"
#include "gradwise/kernels/mixed_bits.h"
#include "gradwise/optim/fused_optimizer.h"

namespace gradwise {
namespace {

// Memory that several tensors share until one of them writes has to be copied first, which no two threads may do.
bool can_be_written(const at::Tensor* tensor) {
  return tensor == nullptr || !tensor->defined() || !c10::impl::cow::is_cow_data_ptr(tensor->storage().data_ptr());
}

// Of a tensor whose memory is its own: changes nothing, so that any thread may ask.
void* own_memory(const at::Tensor* tensor) {
  return tensor == nullptr || !tensor->defined() ? nullptr : const_cast<void*>(tensor->const_data_ptr());
}

bool lies_alike(const at::Tensor& other, const at::Tensor& parameter) {
  return other.scalar_type() == parameter.scalar_type() && other.device() == parameter.device() &&
         other.sizes() == parameter.sizes() && other.strides() == parameter.strides();
}

}  // namespace

// A module that was moved to another type, device or layout keeps its parameters and changes what is in them; options
// may ask for lines that they had not asked for before.
bool FusedOptimizer::stands(std::size_t index) {
  const Slot& slot = slots_[index];
  const at::Tensor& parameter = ordered_[index];
  return !slot.trains
             ? !trains(index)
             : slot.type == parameter.scalar_type() && slot.device == parameter.device() &&
                   parameter.sizes() == at::IntArrayRef(slot.sizes) &&
                   parameter.strides() == at::IntArrayRef(slot.strides) && slot.lines == state_lines(options_of(slot));
}

// The tensors that a step writes: weights, the optimizer's lines, average; null or undefined where there is none.
std::array<const at::Tensor*, 5> FusedOptimizer::written(std::size_t index, const Riders& riders) const {
  const FusedState& lines = *slots_[index].state;
  return {&ordered_[index], &lines.first, &lines.second, &lines.third,
          riders.averages.empty() ? nullptr : &riders.averages[index]};
}

// Of a parameter that stands: reads what it and its gradient are, writes its slot alone, and throws nothing.
FusedOptimizer::Way FusedOptimizer::way_of(std::size_t index, const Riders& riders) {
  Slot& slot = slots_[index];
  slot.gradient = &ordered_[index].grad();
  if (!slot.gradient->defined()) {
    return Way::none;
  }
  if (!slot.fits || slot.gradient->is_sparse()) {
    return Way::by_operators;
  }
  if (slot.state == nullptr || !lies_alike(*slot.gradient, ordered_[index])) {
    return Way::after_copies;
  }
  const std::array<const at::Tensor*, 5> tensors = written(index, riders);
  const at::Tensor* average = tensors.back();
  if ((average != nullptr && average->defined() && !lies_alike(*average, ordered_[index])) ||
      !std::ranges::all_of(tensors, can_be_written)) {
    return Way::after_copies;
  }
  note_memory(index, riders);
  return Way::ready;
}

void FusedOptimizer::note_memory(std::size_t index, const Riders& riders) {
  Slot& slot = slots_[index];
  const auto [weights, first, second, third, average] = written(index, riders);
  const Element element = element_of(*weights);
  slot.memory = {own_memory(weights),
                 slot.gradient->const_data_ptr(),
                 own_memory(first),
                 own_memory(second),
                 own_memory(third),
                 own_memory(average),
                 element,
                 first->defined()    ? element_of(*first)
                 : second->defined() ? element_of(*second)
                                     : element};
}

// Finds each one's gradient, way and memory. False where the states' memory has to be arranged first.
bool FusedOptimizer::look(const std::vector<std::size_t>& indices, const Riders& riders) {
  constexpr std::int64_t kWorthAThread = 128;
  std::atomic<bool> all_stand = arranged_;
  if (arranged_) {
    const auto look_at = [&](std::int64_t begin, std::int64_t end) {
      for (const std::size_t i :
           std::span(indices).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin))) {
        if (!stands(i)) {
          all_stand = false;
          return;
        }
        slots_[i].way = way_of(i, riders);
      }
    };
    at::parallel_for(0, static_cast<std::int64_t>(indices.size()), kWorthAThread, look_at);
  }
  return all_stand;
}

// The pass walks an average in step with its parameter; operators take any layout.
void FusedOptimizer::check_average(std::size_t index, const Riders& riders) const {
  const at::Tensor& parameter = ordered_[index];
  if (riders.averages.empty() || !riders.averages[index].defined()) {
    return;
  }
  const at::Tensor& average = riders.averages[index];
  const bool in_step = slots_[index].way == Way::after_copies;
  GRADWISE_CHECK(in_step ? lies_alike(average, parameter) : average.sizes() == parameter.sizes(), "optimizer",
                 "the average of parameter ", index, " is ", average.sizes(), " ", average.scalar_type(),
                 " with strides ", average.strides(), ", the parameter ", parameter.sizes(), " ",
                 parameter.scalar_type(), " with strides ", parameter.strides(), ", allowed: the same of both");
}

// What can't be done side by side: copies of shared memory, and gradients that do not lie as their parameters do, for
// lines are walked in step.
void FusedOptimizer::make_ready(std::size_t index, const Riders& riders) {
  Slot& slot = slots_[index];
  const at::Tensor& parameter = ordered_[index];
  if (slot.gradient->strides() != parameter.strides()) {
    slot.rearranged = at::empty_like(parameter).copy_(*slot.gradient);
    slot.gradient = &slot.rearranged;
  }
  for (const at::Tensor* tensor : written(index, riders)) {
    if (!can_be_written(tensor)) {
      tensor->mutable_data_ptr();  // takes the copy
    }
  }
  note_memory(index, riders);
}

// Their place in `coefficients_`. Powers are dear where tensors are small, and neighbours share a group and a step.
std::size_t FusedOptimizer::coefficients_at(const FusedOptions& options, std::int64_t step, const Riders& riders) {
  if (coefficients_.empty() || coefficients_.back().options != &options || coefficients_.back().step != step) {
    kernels::UpdateCoefficients values = coefficients_of(options, step);
    values.grad_scale = options.maximize ? -riders.grad_scale : riders.grad_scale;
    values.average_share = riders.average_share;
    coefficients_.push_back({&options, step, values});
  }
  return coefficients_.size() - 1;
}

void FusedOptimizer::add_to_pass(std::size_t index, const Riders& riders) {
  Slot& slot = slots_[index];
  const FusedOptions& options = options_of(slot);
  slot.coefficients = coefficients_at(options, slot.state->step, riders);
  slot.rounding = options.stochastic_rounding ? kernels::Rounding::stochastic : kernels::Rounding::nearest;
  slot.seed = kernels::mixed(options.rounding_seed + kernels::mixed(static_cast<std::uint32_t>(slot.state->step)) +
                             0x9E3779B9U * static_cast<std::uint32_t>(index));
  work_.add(index, ordered_[index].numel());
}

void FusedOptimizer::run_pass() {
  const std::vector<PieceWork::Piece>& pieces = work_.pieces();
  found_.resize(pieces.size());
  work_.run([&](std::size_t i) {
    const PieceWork::Piece& piece = pieces[i];
    const Slot& slot = slots_[piece.tensor];
    kernels::NextUpdate next;
    if (const PieceWork::Piece* start = work_.start_after(i)) {
      next = {&slots_[start->tensor].memory, static_cast<std::size_t>(start->count)};
    }
    found_[i] = kernels::fused_update(slot.state->rule, slot.memory, static_cast<std::size_t>(piece.begin),
                                      static_cast<std::size_t>(piece.count), coefficients_[slot.coefficients].values,
                                      slot.rounding, slot.seed, next);
    // The pass writes behind autograd's back: graphs that have saved the weights must notice.
    if (piece.begin == 0 && !ordered_[piece.tensor].is_inference()) {
      ordered_[piece.tensor].unsafeGetTensorImpl()->bump_version();
    }
  });
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    WeightMoments& moments = moments_[pieces[i].tensor];
    if (pieces[i].begin == 0) {
      moments = {};
    }
    moments.merge(found_[i]);
  }
}

}  // namespace gradwise
