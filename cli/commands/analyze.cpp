#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "cli/commands/analysis_text.h"
#include "cli/commands/commands.h"
#include "cli/config/step_rule_of.h"
#include "cli/config/subject.h"
#include "cli/data/datasets.h"
#include "cli/models/model_factory.h"
#include "gradwise/analysis/analysis_json.h"
#include "gradwise/analysis/gradient_analyzer.h"
#include "gradwise/core/atomic_file.h"
#include "gradwise/core/error.h"
#include "gradwise/core/random_state.h"
#include "gradwise/record/duration_text.h"
#include "gradwise/record/progress_line.h"
#include "gradwise/report/stored_analysis.h"
#include "gradwise/train/loop.h"
#include "gradwise/train/losses.h"

namespace gradwise {
namespace {

struct AnalyzeRequest {
  std::string subject;
  std::vector<std::string> overrides;
  bool hessian = false;
  std::string output;
};

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Shows each part's products, with the time that the rest of the part takes; not among the results.
class HessianProgress {
 public:
  explicit HessianProgress(double plain_interval) : line_(stderr, plain_interval) {}
  void tell(const AnalysisProgress& now) {
    const double time = seconds_now();
    if (now.part != part_) {
      part_ = now.part;
      started_ = time;
    }
    if (!line_.is_due(time)) {
      return;
    }
    std::string text =
        "hessian, " + now.part + "  product " + std::to_string(now.done) + "/" + std::to_string(now.total);
    if (now.done > 0) {
      const double each = (time - started_) / static_cast<double>(now.done);
      text += "  ETA " + duration_text(each * static_cast<double>(now.total - now.done));
    }
    line_.show(text, static_cast<double>(now.done) / static_cast<double>(now.total), time);
  }
  void clear() { line_.clear(); }

 private:
  ProgressLine line_;
  std::string part_;
  double started_ = 0;
};

GradientAnalyzer analyzer_of(const RunConfig& config, HessianProgress& progress) {
  GradientAnalysisConfig analysis = config.analysis;
  analysis.progress = [&progress](const AnalysisProgress& now) { progress.tell(now); };
  return GradientAnalyzer(std::move(analysis));
}

void analyze(const AnalyzeRequest& request) {
  const Subject subject = subject_named(request.subject);
  RunConfig config = config_of(subject, request.overrides);
  config.analysis.compute_hessian = config.analysis.compute_hessian || request.hessian;
  const RunData data = load_data(config);
  seed_everything(static_cast<std::uint64_t>(config.train.seed));
  config.train.checkpoint.folder.clear();
  AutogradTrainingLoop loop(build_model(config.model, data.shape), config.optimizer, config.train);
  if (!subject.checkpoint.empty()) {
    loop.resume(subject.checkpoint);
  }
  HessianProgress progress(config.run.terminal.plain_interval);
  GradientAnalyzer analyzer = analyzer_of(config, progress);
  const GradientAnalysis seen =
      analyzer.analyze_gradients(loop.model(), make_loss(config.loss.name, config.loss.label_smoothing), *data.train,
                                 step_rule_of(config.optimizer, loop.optimizer()));
  progress.clear();
  const std::vector<Issue> issues = analyzer.detect_gradient_issues(seen);
  const std::string analysed =
      request.subject +
      (subject.checkpoint.empty() ? ", with fresh weights" : " at step " + std::to_string(loop.steps()));
  std::printf("%s\n\n%s", analysed.c_str(), analysis_text(seen, issues).c_str());
  std::filesystem::path folder = request.output.empty() ? subject.run : std::filesystem::path(request.output);
  if (folder.empty()) {
    folder = ".";
  }
  std::filesystem::create_directories(folder);
  nlohmann::json json = seen;
  json["step"] = loop.steps();
  json["issues"] = nlohmann::json::array();
  for (const Issue& issue : issues) {
    json["issues"].push_back(issue_json(issue));
  }
  write_file_atomically(folder / kAnalysisFile, json.dump(2) + "\n");
  const PlotStatus plot =
      analyzer.plot_gradient_analysis(folder / "gradient_analysis.png", "Gradient analysis of " + analysed);
  std::printf("\nfigures  %s\n", (folder / kAnalysisFile).c_str());
  std::printf("picture  %s\n",
              plot.drawn ? (folder / "gradient_analysis.png").c_str() : ("none: " + plot.reason).c_str());
}

}  // namespace

void add_analyze_command(CLI::App& program) {
  CLI::App* command = program.add_subcommand(
      "analyze", "Look at the gradients of a configuration or a run: norms, flow, angles, noise scale, curvature");
  auto request = std::make_shared<AnalyzeRequest>();
  command->add_option("subject", request->subject, "A configuration (TOML), or a run: its folder or name")->required();
  command->add_option("--set", request->overrides, "key=value over the configuration, as analysis.micro_batches=16")
      ->allow_extra_args(false);
  command->add_flag("--hessian", request->hessian,
                    "Curvature too: eigenvalues, trace, density, layers and edge of stability");
  command->add_option("-o,--output", request->output,
                      "Folder for gradient_analysis.json and .png (default: the run's, or this one)");
  command->callback([request] { analyze(*request); });
}

}  // namespace gradwise
