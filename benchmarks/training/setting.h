#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "gradwise/core/batch.h"
#include "gradwise/core/model.h"
#include "gradwise/optim/optimizer_options.h"

namespace gradwise::bench {

/// What is trained, and on how much.
struct Setting {
  std::string model = "mlp";  ///< mlp (784-256-128-10, batch 64), cnn (the demo's, batch 128), tiny (4-8-2, batch 8)
  std::string data = "/usr/share/datasets/fashion-mnist";
  std::string folder = {};      ///< for the run that is recorded; must not hold one
  std::int64_t images = 60000;  ///< of the training set; tiny: samples in an epoch
  std::int64_t epochs = 2;      ///< that are measured, after one for warming up
  std::int64_t threads = 0;     ///< 0: LibTorch's own choice
};

inline constexpr double kLearningRate = 1e-3;
inline constexpr double kMaxNorm = 1.0;
inline constexpr double kDecay = 0.998;  ///< of the averaged weights

/// Threads, and memory that is kept instead of given back to the system, as `gradwise train` sets them.
void set_up_process(const Setting& setting);

/// The model with weights from seed 0, so that two of them are equal.
[[nodiscard]] Model make_model(const Setting& setting);
/// The images through the prefetching loader; for "tiny" one batch again and again, which costs nothing.
[[nodiscard]] std::unique_ptr<BatchSource> make_source(const Setting& setting);
/// AdamW with torch's defaults.
[[nodiscard]] OptimizerOptions make_optimizer_options();

class Stopwatch {
 public:
  [[nodiscard]] double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace gradwise::bench
