#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "gradwise/analysis/gradient_analysis.h"
#include "gradwise/analysis/step_rule.h"
#include "gradwise/core/model.h"
#include "gradwise/plot/canvas.h"

namespace gradwise {

/// Looks at the gradients of a model on a batch or a data set, and leaves everything as it was: `.grad`, batch norm's
/// statistics, the mode that the model is in, the random state.
///
///   GradientAnalyzer analyzer({.compute_hessian = true});
///   const GradientAnalysis seen = analyzer.analyze_gradients(model, loss_function, input, target);
///   for (const Issue& issue : analyzer.detect_gradient_issues(seen)) std::puts(issue.message.c_str());
///   (void)analyzer.plot_gradient_analysis("gradient_analysis.png");
///
/// The loss is taken for a mean over samples. Norms, flow, layers and sparsity are exact, of the whole batch; figures
/// between micro-batches are samples of what other batches would show, with standard errors. One forward and backward
/// pass for the former, `micro_batches` smaller ones for the latter; where the Hessian is asked for, `hessian_steps` x
/// `density_vectors` + `trace_vectors` products with it, and for each layer up to `hessian_steps` + `trace_vectors`
/// with its block, which are cheaper. Memory: (micro_batches + 2) x parameters x 4 bytes; with the Hessian
/// (hessian_steps + 2) x parameters, and the graph of a gradient.
class GradientAnalyzer {
 public:
  explicit GradientAnalyzer(GradientAnalysisConfig config = {});
  ~GradientAnalyzer();

  /// Errors, before anything is computed: no parameter that asks for a gradient; an empty batch; fewer samples than
  /// micro_batches where angles or correlation are asked for; a loss that is not a scalar or has no graph. `rule`: the
  /// optimizer's step, for the edge of stability that goes with compute_hessian.
  GradientAnalysis analyze_gradients(const Model& model, const LossFunction& loss_function,
                                     const at::Tensor& input_data, const at::Tensor& target_data,
                                     const StepRule& rule = {});
  /// Over the first `most_batches` batches of a data set, taken together; they have to fit in memory.
  GradientAnalysis analyze_gradients(const Model& model, const LossFunction& loss_function, BatchSource& data,
                                     const StepRule& rule = {});

  /// Over all analyses so far.
  [[nodiscard]] GradientStatistics get_gradient_statistics() const;
  /// What the rules and the thresholds of the configuration have to say about an analysis.
  [[nodiscard]] std::vector<Issue> detect_gradient_issues(const GradientAnalysis& results) const;
  /// Draws the last analysis: PNG, SVG or PDF by the extension. An Error where nothing was analysed yet.
  [[nodiscard]] PlotStatus plot_gradient_analysis(const std::filesystem::path& save_path = "gradient_analysis.png",
                                                  const std::string& title = "Gradient analysis") const;

  [[nodiscard]] const GradientAnalysisConfig& config() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gradwise
