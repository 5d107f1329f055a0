// The whole way on Fashion-MNIST: train with validation, look at the gradients beside the training, analyse, report.
//
//   pipeline FOLDER     writes FOLDER/monitoring_report.txt and FOLDER/gradient_analysis.png
//
// On a tenth of the images, so that it ends within seconds; examples/python/pipeline.py is the same in Python.
#include <ATen/ops/relu.h>

#include <filesystem>
#include <string>

#include "examples/cpp/network.h"
#include "examples/cpp/picture.h"
#include "examples/cpp/proof.h"
#include "gradwise/analysis/gradient_analyzer.h"
#include "gradwise/core/random_state.h"
#include "gradwise/data/idx.h"
#include "gradwise/data/loader.h"
#include "gradwise/monitor/gradient_monitoring.h"
#include "gradwise/train/loop.h"
#include "gradwise/train/losses.h"

using namespace gradwise;

namespace {

constexpr const char* kFolder = "/usr/share/datasets/fashion-mnist/";  // Debian's package dataset-fashion-mnist

Dataset images(const std::string& part, std::int64_t count) {
  const std::string files = kFolder + part;
  const Dataset all = read_idx_dataset(files + "-images-idx3-ubyte.gz", files + "-labels-idx1-ubyte.gz");
  return make_dataset(all.inputs.narrow(0, 0, count).flatten(1), all.targets.narrow(0, 0, count));
}

}  // namespace

int main(int count, char** arguments) {
  seed_everything(0);
  Proof proof("A complete pipeline on Fashion-MNIST");
  const std::filesystem::path folder = folder_of(count, arguments);
  DataLoader training(images("train", 6000), {.batch_size = 64, .scale = 1.0 / 255});
  DataLoader validation(images("t10k", 1000), {.batch_size = 500, .shuffle = false, .scale = 1.0 / 255});
  const Model model = dense_network({784, 256, 128, 10}, [](const at::Tensor& x) { return at::relu(x); });
  const LossFunction cross_entropy = make_loss("cross_entropy");

  AutogradTrainingLoop loop(model, {.lr = 1e-3}, {.metrics = {"accuracy"}, .use_ema = true});
  GradientMonitoring monitoring({.compute_gradient_correlation = false});
  Batch batch;
  training.start(0, 0);
  training.next(batch);
  const Batch probe{batch.input.clone(), batch.target.clone(), {}};
  ValidationStats stats;
  for (int epoch = 0; epoch < 3; ++epoch) {
    const EpochStats epoch_stats = loop.train_epoch(training, cross_entropy);
    stats = loop.validate(validation, cross_entropy);
    const MonitoringResult seen =
        monitoring.monitor_training_step(model, cross_entropy, probe.input, probe.target, loop.steps());
    std::printf("  epoch %d: loss %.3f, validation %.3f, accuracy %.1f %%, %.0f images/s\n", epoch,
                epoch_stats.losses.back(), stats.validation_loss, 100 * stats.metric("accuracy"),
                epoch_stats.samples_per_second);
    for (const Issue& issue : seen.issues) {
      std::printf("    %s: %s -> %s\n", issue.rule.c_str(), issue.message.c_str(), issue.advice.c_str());
    }
  }
  proof.above("accuracy on images that were held out", stats.metric("accuracy"), 0.75);

  GradientAnalyzer analyzer({.compute_hessian = true});
  const GradientAnalysis found = analyzer.analyze_gradients(model, cross_entropy, probe.input, probe.target);
  std::printf("  noise scale %.0f samples, sharpness %.1f\n", found.correlation.noise_scale,
              found.hessian.eigenvalues[0]);
  proof.above("largest eigenvalue of the Hessian", found.hessian.eigenvalues[0], 0);
  monitoring.save_monitoring_report(folder / "monitoring_report.txt");
  proof.holds("the report is written", std::filesystem::file_size(folder / "monitoring_report.txt") > 0);
  proof.equal("steps that were monitored", static_cast<double>(monitoring.get_monitoring_summary().steps_monitored), 3,
              0);
  const PlotStatus drawn = analyzer.plot_gradient_analysis(folder / "gradient_analysis.png");
  std::printf("  %s\n", drawn.drawn ? "drawn: gradient_analysis.png" : drawn.reason.c_str());
  return proof.exit_code();
}
