#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/commands/commands.h"
#include "cli/config/subject.h"
#include "cli/data/datasets.h"
#include "cli/models/model_factory.h"
#include "gradwise/analysis/analysis_json.h"
#include "gradwise/analysis/gradient_analyzer.h"
#include "gradwise/core/atomic_file.h"
#include "gradwise/core/error.h"
#include "gradwise/core/random_state.h"
#include "gradwise/report/text_table.h"
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

std::string with_error(double value, double error) {
  return number_text(value) + (error == error ? " +- " + number_text(error, 2) : "");
}

std::string angle_text(const Angle& angle) {
  return angle.cosine == angle.cosine
             ? "cosine " + number_text(angle.cosine, 3) + ", " + number_text(angle.radians, 3) + " rad"
             : "-";
}

std::string layers_table(const GradientAnalysis& seen) {
  std::vector<std::vector<std::string>> rows{{"layer", "norm", "share of descent"}};
  for (const LayerGradient& layer : seen.layers) {
    rows.push_back({layer.name, number_text(layer.norm), number_text(100 * layer.share, 3) + " %"});
  }
  return rows.size() > 1 ? "\n" + text_table(rows) : "";
}

std::string hessian_text(const GradientAnalysis& seen) {
  if (seen.hessian.eigenvalues.empty()) {
    return "";
  }
  std::string values;
  for (std::size_t i = 0; i < seen.hessian.eigenvalues.size(); ++i) {
    values += (i > 0 ? ", " : "") + with_error(seen.hessian.eigenvalues[i], seen.hessian.eigenvalue_errors[i]);
  }
  return "\nHessian\n\n" + text_pairs({{"largest eigenvalues", values},
                                       {"least Ritz value", number_text(seen.hessian.smallest)},
                                       {"trace", with_error(seen.hessian.trace, seen.hessian.trace_error)},
                                       {"along the gradient", number_text(seen.curvature_along_gradient)}});
}

std::string issues_text(const std::vector<Issue>& issues) {
  std::string text = "\nIssues\n\n";
  for (const Issue& issue : issues) {
    text += wrapped(issue.rule + ": " + issue.message, 2) + wrapped("-> " + issue.advice, 4);
  }
  return issues.empty() ? text + "  none\n" : text;
}

std::string analysis_text(const GradientAnalysis& seen, const std::vector<Issue>& issues) {
  const GradientCorrelation& c = seen.correlation;
  return text_pairs({{"samples", std::to_string(seen.samples)},
                     {"loss", number_text(seen.loss)},
                     {"gradient norm", number_text(seen.norm)},
                     {"flow, first to last layer", number_text(seen.flow.first_to_last, 3)},
                     {"micro-batches, mean", angle_text(seen.angles.mean) + " (standard error of the cosine " +
                                                 number_text(seen.angles.standard_error, 2) + ")"},
                     {"micro-batches, widest", angle_text(seen.angles.widest)},
                     {"diversity, confusion", number_text(c.diversity, 3) + ", " + number_text(c.confusion, 3)},
                     {"noise scale", with_error(c.noise_scale, c.noise_scale_error) + " samples"}}) +
         layers_table(seen) + hessian_text(seen) + issues_text(issues);
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
  GradientAnalyzer analyzer(config.analysis);
  const GradientAnalysis seen =
      analyzer.analyze_gradients(loop.model(), make_loss(config.loss.name, config.loss.label_smoothing), *data.train);
  const std::vector<Issue> issues = analyzer.detect_gradient_issues(seen);
  std::printf(
      "%s%s\n\n%s", request.subject.c_str(),
      subject.checkpoint.empty() ? ", with fresh weights" : (" at step " + std::to_string(loop.steps())).c_str(),
      analysis_text(seen, issues).c_str());
  std::filesystem::path folder = request.output.empty() ? subject.run : std::filesystem::path(request.output);
  if (folder.empty()) {
    folder = ".";
  }
  std::filesystem::create_directories(folder);
  nlohmann::json json = seen;
  json["issues"] = nlohmann::json::array();
  for (const Issue& issue : issues) {
    json["issues"].push_back(issue_json(issue));
  }
  write_file_atomically(folder / "gradient_analysis.json", json.dump(2) + "\n");
  const PlotStatus plot = analyzer.plot_gradient_analysis(folder / "gradient_analysis.png");
  std::printf("\nfigures  %s\n", (folder / "gradient_analysis.json").c_str());
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
  command->add_flag("--hessian", request->hessian, "Eigenvalues and trace of the Hessian too");
  command->add_option("-o,--output", request->output,
                      "Folder for gradient_analysis.json and .png (default: the run's, or this one)");
  command->callback([request] { analyze(*request); });
}

}  // namespace gradwise
