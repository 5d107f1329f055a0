#pragma once

#include <c10/util/SmallVector.h>
#include <torch/optim/optimizer.h>

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "gradwise/core/reading.h"
#include "gradwise/kernels/fused_update.h"
#include "gradwise/optim/composed_update.h"
#include "gradwise/optim/fused_options.h"
#include "gradwise/optim/piece_work.h"
#include "gradwise/optim/state_arena.h"

namespace gradwise {

/// AdamW, Adam, SGD, RMSprop, Adagrad and Lion in one pass over memory (kernels/fused_update.h), which also scales the
/// gradient, moves an average and measures weights and update.
///
/// On the CPU, float32, float64, float16 and bfloat16 parameters that fill their memory take the pass; the results
/// differ from torch.optim's by rounding alone. Everything else (other devices, other layouts, sparse gradients) takes
/// ATen's operators, as does all with `FusedOptions::parity`, which has the bits of torch.optim's single-tensor forms.
/// Moments are float32 (float64 for float64), or bfloat16 where asked for; all of one type lie in one piece of memory,
/// and `state()` shows them as tensors. Results do not depend on the number of threads. Parameters without a gradient
/// are passed over; those that have never asked for one take no memory, and train from when they do.
///
/// Errors: complex parameters; parameters that share memory, or whose elements do (views that interleave do not); a
/// gradient of another shape, type or device; a parameter whose shape is no longer that of its state or average.
class FusedOptimizer : public torch::optim::Optimizer {
 public:
  FusedOptimizer(const std::vector<torch::optim::OptimizerParamGroup>& groups, const FusedOptions& defaults);

  torch::Tensor step(LossClosure closure = nullptr) override;

  /// For torch::save and torch::load: the groups' options and each parameter's state, by its place among
  /// `ordered_parameters`. Errors of `load`: another number of groups or parameters, another rule, another shape.
  void save(torch::serialize::OutputArchive& archive) const override;
  void load(torch::serialize::InputArchive& archive) override;

  /// What rides along. `averages`: of each parameter in the order of `ordered_parameters`, undefined ones are left out;
  /// average += average_share · (new weight - average).
  struct Riders {
    double grad_scale = 1;
    std::span<const at::Tensor> averages = {};
    double average_share = 0;
  };
  void update(const Riders& riders);
  /// Steps one parameter alone, by its place in `ordered_parameters`; nothing where it has no gradient.
  void update_one(std::size_t index, const Riders& riders);
  /// After a step of `update_one` calls: what they have passed over has not moved.
  void end_partial_step();

  [[nodiscard]] const std::vector<at::Tensor>& ordered_parameters() const { return ordered_; }
  /// Where a parameter stands among them; none where it is not held.
  [[nodiscard]] std::optional<std::size_t> place_of(const at::Tensor& parameter) const;
  /// The averages of `sources` as Riders take them. Empty where one of them can't ride along, being of another type,
  /// device or layout than its parameter, or of a parameter that is not held.
  [[nodiscard]] std::vector<at::Tensor> averages_by_place(const std::vector<at::Tensor>& sources,
                                                          const std::vector<at::Tensor>& averages) const;
  /// Whether every parameter that trains is where updates are measured: on the CPU.
  [[nodiscard]] bool measures() const;
  /// Of the last update, in the order of `ordered_parameters`; a parameter that it passed over has not moved.
  [[nodiscard]] std::span<const WeightMoments> weight_moments() const { return moments_; }
  /// Sets the moments to those of an update that moved nothing.
  void measure_standing();
  /// To be called after `state()` was changed from outside.
  void forget_state() { arranged_ = false; }
  /// The state of the parameter at `place`; null before its first step.
  [[nodiscard]] FusedState* state_at(std::size_t place);
  /// Goes up when states are added, or their tensors replaced by others.
  [[nodiscard]] std::int64_t layout() const { return layout_; }

 private:
  // How a parameter is stepped: not at all for want of a gradient, in the pass, in the pass after a copy or the first
  // state was made for it, or by ATen's operators.
  enum class Way { none, ready, after_copies, by_operators };

  struct Slot {
    std::size_t group = 0;
    FusedState* state = nullptr;
    const at::Tensor* gradient = nullptr;  // of this step
    at::Tensor rearranged;                 // the gradient, where it does not lie as the parameter does
    Way way = Way::none;
    kernels::UpdateMemory memory;
    std::size_t coefficients = 0;  // place in `coefficients_`
    kernels::Rounding rounding = kernels::Rounding::nearest;
    std::uint32_t seed = 0;
    bool fits = false;    // its memory can take the pass
    bool trains = false;  // has had a gradient or asked for one: there is memory for its state
    // What the state's memory was made for.
    at::ScalarType type = at::kFloat;
    at::Device device = at::kCPU;
    c10::SmallVector<std::int64_t, 5> sizes;
    c10::SmallVector<std::int64_t, 5> strides;
    StateLines lines = {};
    bool stepped = false;
  };

  // Shared by parameters of one group that are at one step.
  struct StepCoefficients {
    const FusedOptions* options;
    std::int64_t step;
    kernels::UpdateCoefficients values;
  };

  using ArenaKind = std::tuple<at::ScalarType, at::DeviceType, at::DeviceIndex>;

  [[nodiscard]] bool trains(std::size_t index) const;
  void refuse_shared_parameters() const;
  void refuse_other_states();
  void check_average(std::size_t index, const Riders& riders) const;
  void arrange();
  [[nodiscard]] bool stands(std::size_t index);
  [[nodiscard]] ArenaKind arena_kind(std::size_t index);
  [[nodiscard]] const FusedOptions& options_of(const Slot& slot);
  FusedState& state_of(std::size_t index);
  void place_lines(std::size_t index, FusedState& state);
  void update_some(const std::vector<std::size_t>& indices, const Riders& riders);
  [[nodiscard]] bool look(const std::vector<std::size_t>& indices, const Riders& riders);
  [[nodiscard]] Way way_of(std::size_t index, const Riders& riders);
  [[nodiscard]] std::array<const at::Tensor*, 5> written(std::size_t index, const Riders& riders) const;
  void note_memory(std::size_t index, const Riders& riders);
  void make_ready(std::size_t index, const Riders& riders);
  std::size_t coefficients_at(const FusedOptions& options, std::int64_t step, const Riders& riders);
  void add_to_pass(std::size_t index, const Riders& riders);
  void run_pass();
  void step_by_operators(const std::vector<std::size_t>& indices, const Riders& riders);
  void measure_by_copy(std::size_t index, const at::Tensor& before);

  std::vector<at::Tensor> ordered_;
  std::unordered_map<const at::TensorImpl*, std::size_t> places_;
  std::vector<std::size_t> all_;  // every place
  std::vector<Slot> slots_;
  std::vector<WeightMoments> moments_;
  std::map<ArenaKind, StateArena> arenas_;
  std::vector<StepCoefficients> coefficients_;  // of the pass under way
  PieceWork work_;
  std::vector<WeightMoments> found_;  // by piece
  bool arranged_ = false;
  std::int64_t layout_ = 0;
};

}  // namespace gradwise
