// Writes and reads checkpoints of a small training, for test_checkpoint.py:
//   checkpoint_probe write FOLDER   one step of AdamW from weights 0, 1, 2, ... / 16 with gradients of 1; saves it
//   checkpoint_probe read CHECKPOINT OUT.safetensors   resumes there and writes the weights that it found
#include <cstdint>
#include <exception>
#include <filesystem>
#include <iostream>
#include <string>
#include <utility>

#include "gradwise/data/new_tensor.h"
#include "gradwise/data/safetensors.h"
#include "gradwise/train/loop.h"

namespace gradwise {
namespace {

/// Elements 0, 1, 2, ... over 16.
at::Tensor counted(at::IntArrayRef shape) {
  at::Tensor tensor = new_tensor(shape, at::kFloat);
  float* values = tensor.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < tensor.numel(); ++i) {
    values[i] = static_cast<float>(i) / 16;
  }
  return tensor;
}

Model sum_model() {
  const at::Tensor weight = counted({2, 3}).requires_grad_();
  const at::Tensor bias = counted({5}).requires_grad_();
  const at::Tensor count = counted({4}).mul(16).to(at::kLong);
  Model model;
  model.parameters = {{"layer.weight", "layer.bias"}, {weight, bias}};
  model.buffers.add("layer.count", count);
  model.forward = [weight, bias](const Batch&) { return weight.sum().add(bias.sum()); };
  return model;
}

/// One batch, whose content does not matter.
class OneBatch : public BatchSource {
 public:
  void start(std::int64_t /*epoch*/, std::int64_t position) override { done_ = position > 0; }
  bool next(Batch& batch) override {
    batch.input = batch.target = counted({1});
    return !std::exchange(done_, true);
  }
  [[nodiscard]] std::int64_t batches_per_epoch() const override { return 1; }

 private:
  bool done_ = false;
};

LoopOptions options_in(const std::filesystem::path& folder) {
  LoopOptions options;
  options.epochs = 1;
  options.use_ema = true;
  options.step.clip.method = "none";
  options.checkpoint.folder = folder.string();
  return options;
}

void write(const std::filesystem::path& folder) {
  AutogradTrainingLoop loop(sum_model(), OptimizerOptions(), options_in(folder));
  OneBatch source;
  (void)loop.fit(source, nullptr, [](const at::Tensor& output, const at::Tensor&) { return output; });
}

void read(const std::filesystem::path& checkpoint, const std::filesystem::path& out) {
  const Model model = sum_model();
  AutogradTrainingLoop loop(model, OptimizerOptions(), options_in(""));
  loop.resume(checkpoint);
  write_safetensors(out, {{"layer.weight", model.parameters.tensors[0].detach()},
                          {"layer.bias", model.parameters.tensors[1].detach()},
                          {"layer.count", model.buffers.tensors[0]}});
}

}  // namespace
}  // namespace gradwise

int main(int count, char** words) {
  try {
    const std::string mode = count > 1 ? words[1] : "";
    if (mode == "write" && count == 3) {
      gradwise::write(words[2]);
    } else if (mode == "read" && count == 4) {
      gradwise::read(words[2], words[3]);
    } else {
      std::cerr << "usage: checkpoint_probe write FOLDER | read CHECKPOINT OUT\n";
      return 2;
    }
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}
