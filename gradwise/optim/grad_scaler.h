#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "gradwise/core/fields.h"
#include "gradwise/core/state.h"

namespace gradwise {

/// Defaults are those of `torch.amp.GradScaler`.
struct GradScalerOptions {
  double init_scale = 65536;
  double growth_factor = 2;
  double backoff_factor = 0.5;
  std::int64_t growth_interval = 2000;
};

template <class Fields>
void describe(Fields& fields, GradScalerOptions& o) {
  fields.add("init_scale", o.init_scale, "first loss scale", positive());
  fields.add("growth_factor", o.growth_factor, "factor of the scale after growth_interval good steps",
             {"> 1", [](double x) { return x > 1; }, {}});
  fields.add("backoff_factor", o.backoff_factor, "factor of the scale after a step with inf or NaN",
             {"from above 0 to below 1", [](double x) { return x > 0 && x < 1; }, {}});
  fields.add("growth_interval", o.growth_interval, "good steps in a row before the scale grows", at_least(1));
}

/// Scales a loss so that half-precision gradients do not underflow, as `torch.amp.GradScaler` does: the scale backs
/// off when a gradient is not finite (that step is skipped) and grows after enough good ones.
///
///   scaler.scale(loss).backward();
///   const bool finite = scaler.unscale(gradients);
///   if (finite) optimizer.step();
///   scaler.update();
class GradScaler {
 public:
  explicit GradScaler(GradScalerOptions options = {});

  [[nodiscard]] at::Tensor scale(const at::Tensor& loss);
  /// Divides the gradients by the scale in place; false where one of them holds inf or NaN. One copy to the host.
  [[nodiscard]] bool unscale(const std::vector<at::Tensor>& gradients);
  /// In place of `unscale`, where the gradients are divided by the scale elsewhere.
  void note_unscaled(bool finite);
  /// Forgets an `unscale` that no update will follow; the scale stays.
  void drop_unscaled();
  /// Backs off or grows, by what `unscale` has seen since the last update.
  void update();

  [[nodiscard]] double get_scale() const;
  [[nodiscard]] std::int64_t growth_tracker() const;
  /// Keys as in torch: scale, growth_factor, backoff_factor, growth_interval, _growth_tracker.
  [[nodiscard]] State state() const;
  void load_state(const State& state);

 private:
  void place_on(at::Device device);

  GradScalerOptions options_;
  at::Tensor scale_;           // float32 scalar
  at::Tensor growth_tracker_;  // int32 scalar
  at::Tensor found_inf_;       // float32 scalar, 0 or 1
  bool unscaled_ = false;
};

}  // namespace gradwise
