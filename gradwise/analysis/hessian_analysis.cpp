#include "gradwise/analysis/hessian_analysis.h"

#include <ATen/ops/cat.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "gradwise/core/error.h"
#include "gradwise/core/nearest_name.h"
#include "gradwise/curvature/function_operator.h"
#include "gradwise/curvature/hessian.h"
#include "gradwise/curvature/lanczos.h"
#include "gradwise/curvature/rounding.h"
#include "gradwise/curvature/spectral_density.h"
#include "gradwise/curvature/trace.h"

namespace gradwise {
namespace {

// Counts the products of a part and tells of them.
class ProductCount {
 public:
  explicit ProductCount(const GradientAnalysisConfig& config) : tell_(config.progress) {}
  void begin(const std::string& part, std::int64_t total) {
    now_ = {part, -1, total};
    advance();
  }
  void advance() { jump_to(now_.done + 1); }
  void jump_to(std::int64_t done) {
    now_.done = std::min(done, now_.total);
    if (tell_) {
      tell_(now_);
    }
  }

 private:
  const std::function<void(const AnalysisProgress&)>& tell_;
  AnalysisProgress now_;
};

struct Layer {
  std::string name;
  NamedParameters parameters;
};

std::vector<Layer> layers_with_rows(const NamedParameters& parameters) {
  std::vector<Layer> layers;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (parameters.tensors[i].numel() > 0) {
      const std::string name = layer_of(parameters.names[i]);
      auto found = std::ranges::find(layers, name, &Layer::name);
      if (found == layers.end()) {
        found = layers.insert(found, {name, {}});
      }
      found->parameters.add(parameters.names[i], parameters.tensors[i]);
    }
  }
  return layers;
}

// Lanczos' residuals tend to 0 in the end; what rounding leaves of products is no less.
std::vector<double> residuals_of(const LanczosResult& run, const LinearOperator& matrix) {
  const double magnitude = std::max(std::abs(run.values.front()), std::abs(run.values.back()));
  std::vector<double> residuals = run.errors;
  for (double& residual : residuals) {
    residual = std::max(residual, rounding_share(matrix) * magnitude);
  }
  return residuals;
}

class HessianMeasurement {
 public:
  HessianMeasurement(const Model& model, const LossFunction& loss_function, const Batch& batch,
                     const GradientAnalysisConfig& config)
      : model_(model), loss_function_(loss_function), batch_(batch), config_(config), products_(config) {}

  void measure_whole(const StepRule& rule, GradientAnalysis& result) {
    products_.begin("graph of the gradient", 1);
    const Hessian hessian = hessian_of(model_.parameters);
    const at::Tensor g = hessian.gradient().to(at::kDouble);
    const double square = g.square().sum().item<double>();
    if (square > 0) {
      products_.begin("curvature along the gradient", 1);
      result.curvature_along_gradient = g.dot(product(hessian, hessian.gradient())).item<double>() / square;
      result.hessian.products += 1;
    }
    measure_spectrum(hessian, result.hessian);
    products_.begin("trace", config_.trace_vectors);
    const Estimate trace = trace_of(hessian);
    result.hessian.trace = trace.value;
    result.hessian.trace_error = trace.standard_error;
    result.hessian.products += trace.products;
    result.hessian.edge = edge_of(hessian, rule, result.hessian);
  }

  std::vector<LayerCurvature> measure_layers() {
    const std::vector<Layer> layers = layers_with_rows(model_.parameters.trainable());
    const std::int64_t each = 1 + config_.hessian_steps + config_.trace_vectors;  // with its graph
    products_.begin("layers", each * std::ssize(layers));
    std::vector<LayerCurvature> measured;
    for (const Layer& layer : layers) {
      const Hessian block = hessian_of(layer.parameters);
      const LanczosResult spectrum = lanczos(block, 1, {.steps = config_.hessian_steps, .seed = config_.seed});
      const Estimate trace = trace_of(block);
      measured.push_back({layer.name, block.size(), spectrum.values.front(), residuals_of(spectrum, block).front(),
                          trace.value, trace.standard_error, spectrum.products + trace.products});
      products_.jump_to(each * std::ssize(measured));
    }
    return measured;
  }

 private:
  Hessian hessian_of(const NamedParameters& parameters) {
    Model model = model_;
    model.parameters = parameters;
    // Of the step as it is: in training mode, with the dropout masks of one pass.
    CurvatureOptions options{.check_deterministic = false};
    options.progress = [this](std::int64_t /*done*/, std::int64_t /*total*/) { products_.advance(); };
    return Hessian(model, loss_function_, {batch_}, std::move(options));
  }

  [[nodiscard]] Estimate trace_of(const Hessian& matrix) const {
    // One product after the other, so that each is told of: over one batch they share nothing.
    const FunctionOperator alone([&matrix](const at::Tensor& v) { return matrix.apply(v); }, matrix.size(),
                                 matrix.options());
    return hutchinson_trace(alone, {.products = config_.trace_vectors, .seed = config_.seed});
  }

  // The runs are as long for each vector; eigenvalues are those of the run that came nearest.
  void measure_spectrum(const Hessian& hessian, HessianSummary& summary) {
    const std::int64_t steps = std::min(config_.hessian_steps, hessian.size());
    products_.begin("eigenvalues and density", steps * config_.density_vectors);
    std::vector<LanczosResult> runs;
    for (std::int64_t i = 0; i < config_.density_vectors; ++i) {
      runs.push_back(lanczos(hessian, 1, {.steps = steps, .tolerance = 0, .seed = config_.seed + i}));
    }
    const LanczosResult& best =
        *std::ranges::min_element(runs, {}, [](const LanczosResult& run) { return run.errors.front(); });
    const auto kept = std::min(std::ssize(best.values), config_.hessian_eigenvalues);
    summary.eigenvalues.assign(best.values.begin(), best.values.begin() + kept);
    summary.eigenvalue_errors = residuals_of(best, hessian);
    summary.eigenvalue_errors.resize(static_cast<std::size_t>(kept));
    summary.sharpness = summary.eigenvalues.front();
    summary.smallest = best.values.back();
    for (const LanczosResult& run : runs) {
      summary.smallest = std::min(summary.smallest, run.values.back());
      summary.products += run.products;
    }
    for (const DensityPoint& point : spectral_density(runs)) {
      summary.density.emplace_back(point.eigenvalue, point.density);
      if (runs.size() > 1) {
        summary.density_errors.push_back(point.standard_error);
      }
    }
  }

  StabilityEdge edge_of(const Hessian& hessian, const StepRule& rule, HessianSummary& summary) {
    StabilityEdge edge{.optimizer = rule.optimizer,
                       .learning_rate = rule.learning_rate,
                       .threshold = rule.threshold,
                       .unknown = rule.unknown,
                       .preconditioned = !rule.scales.empty()};
    if (!rule.unknown.empty()) {
      return edge;
    }
    double largest = summary.eigenvalues.front();
    double residual = summary.eigenvalue_errors.front();
    if (!rule.scales.empty() && rule.learning_rate > 0) {
      products_.begin("edge of stability", std::min(config_.hessian_steps, hessian.size()));
      const at::Tensor root = roots_of(rule.scales, hessian);
      const FunctionOperator scaled(
          [&hessian, root](const at::Tensor& v) { return hessian.apply(v.mul(root)).mul(root); }, hessian.size(),
          hessian.options());
      const LanczosResult spectrum = lanczos(scaled, 1, {.steps = config_.hessian_steps, .seed = config_.seed});
      largest = spectrum.values.front();
      residual = residuals_of(spectrum, scaled).front();
      summary.products += spectrum.products;
    }
    edge.value = rule.learning_rate * largest;
    edge.error = rule.learning_rate * residual;
    return edge;
  }

  // Of P^-1/2, in the operator's order and type.
  static at::Tensor roots_of(const std::vector<at::Tensor>& scales, const Hessian& hessian) {
    const NamedParameters& parameters = hessian.parameters();
    GRADWISE_CHECK(scales.size() == parameters.size(), "analysis", "the step rule has ", scales.size(),
                   " scales, allowed: one for each of the ", parameters.size(), " trainable parameters");
    std::vector<at::Tensor> roots;
    for (std::size_t i = 0; i < scales.size(); ++i) {
      const at::Tensor& parameter = parameters.tensors[i];
      GRADWISE_CHECK(scales[i].dim() == 0 || scales[i].sizes() == parameter.sizes(), "analysis",
                     "the step rule's scale of ", parameters.names[i], " has the shape ", scales[i].sizes(),
                     ", allowed: ", parameter.sizes(), ", or one number");
      roots.push_back(scales[i].to(hessian.options()).sqrt().expand_as(parameter).reshape({-1}));
    }
    return at::cat(roots);
  }

  const Model& model_;
  const LossFunction& loss_function_;
  const Batch& batch_;
  const GradientAnalysisConfig& config_;
  ProductCount products_;
};

}  // namespace

void measure_hessian(const Model& model, const LossFunction& loss_function, const Batch& batch,
                     const GradientAnalysisConfig& config, const StepRule& rule, GradientAnalysis& result) {
  HessianMeasurement measurement(model, loss_function, batch, config);
  measurement.measure_whole(rule, result);
  if (config.hessian_layers) {
    result.hessian.layers = measurement.measure_layers();
  }
}

}  // namespace gradwise
