#include "cli/commands/analysis_text.h"

#include <cmath>

#include "gradwise/report/text_table.h"

namespace gradwise {
namespace {

std::string with_error(double value, double error) {
  return number_text(value) + (std::isnan(error) ? "" : " +- " + number_text(error, 2));
}

std::string angle_text(const Angle& angle) {
  return std::isnan(angle.cosine)
             ? "-"
             : "cosine " + number_text(angle.cosine, 3) + ", " + number_text(angle.radians, 3) + " rad";
}

std::string noise_text(const GradientCorrelation& c) {
  if (c.micro_batches.empty()) {
    return "-";
  }
  if (std::isnan(c.noise_scale)) {
    return "not measured: noise hides the gradient, take more batches (analysis.most_batches)";
  }
  return with_error(c.noise_scale, c.noise_scale_error) + " samples" +
         (std::isnan(c.noise_scale_error) ? " (its standard error takes 3 micro-batches)" : "");
}

std::string layers_text(const std::vector<LayerGradient>& layers) {
  std::vector<std::vector<std::string>> rows{{"layer", "norm", "share of descent"}};
  for (const LayerGradient& layer : layers) {
    rows.push_back({layer.name, number_text(layer.norm), number_text(100 * layer.share, 3) + " %"});
  }
  return rows.size() > 1 ? "\n" + text_table(rows) : "";
}

std::string edge_text(const StabilityEdge& edge) {
  if (!edge.unknown.empty()) {
    return "not known" + (edge.optimizer.empty() ? "" : " for " + edge.optimizer) + ": " + edge.unknown;
  }
  return with_error(edge.value, edge.error) + ", steps grow beyond " + number_text(edge.threshold) +
         " (learning rate " + number_text(edge.learning_rate) + " x largest eigenvalue" +
         (edge.preconditioned ? " of the preconditioned Hessian; " : "; ") + edge.optimizer + ")";
}

std::string curvature_table(const std::vector<LayerCurvature>& layers) {
  std::vector<std::vector<std::string>> rows{
      {"layer", "parameters", "largest eigenvalue", "residual", "trace", "standard error"}};
  for (const LayerCurvature& layer : layers) {
    rows.push_back({layer.name, std::to_string(layer.parameters), number_text(layer.largest),
                    number_text(layer.largest_error, 2), number_text(layer.trace), number_text(layer.trace_error, 2)});
  }
  return rows.size() > 1 ? "\n" + text_table(rows) : "";
}

std::string products_text(const HessianSummary& hessian) {
  std::int64_t of_layers = 0;
  for (const LayerCurvature& layer : hessian.layers) {
    of_layers += layer.products;
  }
  return std::to_string(hessian.products) + " with the Hessian" +
         (hessian.layers.empty() ? "" : ", " + std::to_string(of_layers) + " with blocks of layers");
}

std::string hessian_text(const GradientAnalysis& seen) {
  const HessianSummary& hessian = seen.hessian;
  if (hessian.eigenvalues.empty()) {
    return "";
  }
  std::string values;
  for (std::size_t i = 0; i < hessian.eigenvalues.size(); ++i) {
    values += (i > 0 ? ", " : "") + with_error(hessian.eigenvalues[i], hessian.eigenvalue_errors[i]);
  }
  return "\nHessian, in loss per squared unit of the weights\n\n" +
         text_pairs({{"sharpness", with_error(hessian.sharpness, hessian.eigenvalue_errors.front()) + " (residual)"},
                     {"largest eigenvalues", values},
                     {"least Ritz value", number_text(hessian.smallest)},
                     {"trace", with_error(hessian.trace, hessian.trace_error) + " (standard error)"},
                     {"along the gradient", number_text(seen.curvature_along_gradient)},
                     {"edge of stability", edge_text(hessian.edge)},
                     {"products", products_text(hessian)}}) +
         curvature_table(hessian.layers);
}

std::string issues_text(const std::vector<Issue>& issues) {
  std::string text = "\nIssues\n\n";
  for (const Issue& issue : issues) {
    text += wrapped(issue.rule + ": " + issue.message, 2) + wrapped("-> " + issue.advice, 4);
  }
  return issues.empty() ? text + "  none\n" : text;
}

}  // namespace

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
                     {"noise scale", noise_text(c)}}) +
         layers_text(seen.layers) + hessian_text(seen) + issues_text(issues);
}

}  // namespace gradwise
