#pragma once

#include <torch/optim/optimizer.h>

#include <memory>
#include <vector>

namespace gradwise {

/// Adam (Kingma and Ba 2015) or AdamW (Loshchilov and Hutter 2019, `decoupled`), options of one parameter group.
struct FusedAdamOptions : torch::optim::OptimizerOptions {
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 1e-2;
  bool amsgrad = false;
  bool decoupled = true;

  [[nodiscard]] std::unique_ptr<torch::optim::OptimizerOptions> clone() const override {
    return std::make_unique<FusedAdamOptions>(*this);
  }
  [[nodiscard]] double get_lr() const override { return lr; }
  void set_lr(double value) override { lr = value; }
};

struct FusedAdamState : torch::optim::OptimizerParamState {
  at::Tensor step;  ///< float32 scalar, as the fused kernels want it
  at::Tensor exp_avg;
  at::Tensor exp_avg_sq;
  at::Tensor max_exp_avg_sq;  ///< undefined without amsgrad

  [[nodiscard]] std::unique_ptr<torch::optim::OptimizerParamState> clone() const override {
    return std::make_unique<FusedAdamState>(*this);
  }
};

/// Adam and AdamW through ATen's fused kernels (`torch.optim.AdamW(fused=True)`): one pass over memory in place of the
/// twelve of `torch::optim::AdamW`. Parameters are dense and floating point; those without a gradient are passed over.
class FusedAdam : public torch::optim::Optimizer {
 public:
  FusedAdam(const std::vector<torch::optim::OptimizerParamGroup>& groups, const FusedAdamOptions& defaults);
  torch::Tensor step(LossClosure closure = nullptr) override;

 private:
  FusedAdamState& state_of(const at::Tensor& parameter, bool amsgrad);
  void step_group(torch::optim::OptimizerParamGroup& group);
};

}  // namespace gradwise
