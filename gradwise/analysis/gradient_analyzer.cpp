#include "gradwise/analysis/gradient_analyzer.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/stack.h>

#include <cmath>
#include <map>
#include <utility>

#include "gradwise/analysis/analysis_issues.h"
#include "gradwise/analysis/analysis_panels.h"
#include "gradwise/analysis/hessian_analysis.h"
#include "gradwise/analysis/micro_batch_gradients.h"
#include "gradwise/analysis/similarity.h"
#include "gradwise/autograd/graph_walk.h"
#include "gradwise/autograd/tensor_entries.h"
#include "gradwise/core/error.h"
#include "gradwise/rules/history.h"

namespace gradwise {
namespace {

constexpr std::int64_t kMostClasses = 30;

// Where each parameter's elements lie in the flat gradient.
struct Piece {
  std::int64_t first = 0;
  std::int64_t length = 0;
};

std::vector<Piece> pieces_of(const NamedParameters& parameters) {
  std::vector<Piece> pieces;
  std::int64_t first = 0;
  for (const at::Tensor& tensor : parameters.tensors) {
    pieces.push_back({first, tensor.numel()});
    first += tensor.numel();
  }
  return pieces;
}

ParameterGradient figures_of_gradient(const std::string& name, const at::Tensor& tensor, const at::Tensor& flat,
                                      bool missing) {
  ParameterGradient p;
  p.name = name;
  p.shape = tensor.sizes().vec();
  p.missing = missing;
  const at::Tensor g = flat.to(at::kDouble);
  const at::Tensor finite = g.isfinite();
  const auto count = static_cast<double>(g.numel());
  p.nonfinite = 1 - finite.sum().item<double>() / count;
  if (missing || count == 0) {
    return p;
  }
  p.norm = g.norm().item<double>();
  p.rms = p.norm / std::sqrt(count);
  p.mean = g.mean().item<double>();
  p.variance = g.var(/*unbiased=*/false).item<double>();
  p.largest = g.abs().max().item<double>();
  p.sparsity = g.eq(0).sum().item<double>() / count;
  return p;
}

// Median over elements of |mean| / deviation between rows.
double signal_to_noise(const at::Tensor& rows) {
  const at::Tensor deviation = rows.std(0, /*unbiased=*/true);
  const at::Tensor usable = deviation.gt(0);
  if (!usable.any().item<bool>()) {
    return kNotMeasured;
  }
  return rows.mean(0).abs().div(deviation).masked_select(usable).median().item<double>();
}

std::vector<LayerGradient> layers_of(const std::vector<ParameterGradient>& parameters, double norm) {
  std::vector<LayerGradient> layers;
  for (const ParameterGradient& p : parameters) {
    const std::string name = layer_of(p.name);
    if (layers.empty() || layers.back().name != name) {
      layers.push_back({name, 0, 0});
    }
    layers.back().norm = std::hypot(layers.back().norm, p.missing ? 0 : p.norm);
  }
  for (LayerGradient& layer : layers) {
    layer.share = norm > 0 ? layer.norm * layer.norm / (norm * norm) : kNotMeasured;
  }
  return layers;
}

GradientFlow flow_of(const std::vector<ParameterGradient>& parameters) {
  GradientFlow flow;
  for (const ParameterGradient& p : parameters) {
    if (p.shape.size() >= 2 && !p.missing) {
      flow.weights.push_back(p.name);
      flow.rms.push_back(p.rms);
    }
  }
  for (std::size_t i = 0; i + 1 < flow.rms.size(); ++i) {
    flow.neighbour_ratios.push_back(flow.rms[i] / flow.rms[i + 1]);
  }
  if (flow.rms.size() > 1) {
    flow.first_to_last = flow.rms.front() / flow.rms.back();
  }
  return flow;
}

// The contributions <g_i, g> of each layer over the micro-batches i, a row a layer.
at::Tensor layer_contributions(const at::Tensor& rows, const at::Tensor& whole, const std::vector<Piece>& pieces,
                               const NamedParameters& parameters) {
  std::vector<at::Tensor> contributions;
  std::string layer;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const at::Tensor part = rows.narrow(1, pieces[i].first, pieces[i].length)
                                .mv(whole.narrow(0, pieces[i].first, pieces[i].length))
                                .to(at::kDouble);
    if (contributions.empty() || layer_of(parameters.names[i]) != layer) {
      contributions.push_back(part);
      layer = layer_of(parameters.names[i]);
    } else {
      contributions.back() = contributions.back().add(part);
    }
  }
  return at::stack(contributions);
}

Batch joined_batches(BatchSource& data, std::int64_t most) {
  std::vector<at::Tensor> inputs;
  std::vector<at::Tensor> targets;
  data.start(0, 0);
  for (Batch batch; std::ssize(inputs) < most && data.next(batch);) {
    GRADWISE_CHECK(batch.extra.empty(), "analysis", "the batches have further inputs, allowed: input and target");
    inputs.push_back(batch.input.clone());
    targets.push_back(batch.target.clone());
  }
  GRADWISE_CHECK(!inputs.empty(), "analysis", "the data set has no batch");
  return {at::cat(inputs), at::cat(targets), {}};
}

Spread spread_of(const std::vector<double>& values) {
  Spread spread;
  double sum = 0;
  for (const double value : values) {
    if (std::isfinite(value)) {
      spread.least = spread.count == 0 ? value : std::min(spread.least, value);
      spread.greatest = spread.count == 0 ? value : std::max(spread.greatest, value);
      sum += value;
      ++spread.count;
    }
  }
  if (spread.count == 0) {
    return spread;
  }
  spread.mean = sum / static_cast<double>(spread.count);
  double squares = 0;
  for (const double value : values) {
    squares += std::isfinite(value) ? (value - spread.mean) * (value - spread.mean) : 0;
  }
  spread.deviation = spread.count > 1 ? std::sqrt(squares / static_cast<double>(spread.count - 1)) : kNotMeasured;
  return spread;
}

}  // namespace

struct GradientAnalyzer::Impl {
  explicit Impl(GradientAnalysisConfig given) : config(std::move(given)) { check_fields("analysis", config); }

  GradientAnalysis analyze(const Model& model, const LossFunction& loss_function, const Batch& batch,
                           const StepRule& rule) {
    const GradientSource source(model, loss_function);
    const bool parts = config.compute_gradient_angles || config.compute_gradient_correlation;
    GRADWISE_CHECK(batch.input.defined() && batch.input.numel() > 0, "analysis", "the batch is empty");
    GRADWISE_CHECK(!parts || batch.size() >= config.micro_batches, "analysis", "the batch has ", batch.size(),
                   " samples, angles and correlation need at least micro_batches = ", config.micro_batches);
    GradientAnalysis result;
    result.samples = batch.size();
    const BatchGradient whole = source.of(batch, [&](const at::Tensor& loss) {
      GraphWalk walk = walk_graph(loss, model.parameters);
      result.activations = std::move(walk.activations);
      result.loss_path = std::move(walk.loss_path);
    });
    result.loss = whole.loss;
    result.norm = whole.gradient.to(at::kDouble).norm().item<double>();
    const std::vector<Piece> pieces = pieces_of(source.parameters());
    measure_parameters(source.parameters(), whole, pieces, result);
    if (parts) {
      measure_parts(source, batch, whole.gradient, pieces, result);
    }
    if (config.compute_hessian) {
      measure_hessian(model, loss_function, batch, config, rule, result);
    }
    remember(result, whole.gradient);
    return result;
  }

  void measure_parameters(const NamedParameters& parameters, const BatchGradient& whole,
                          const std::vector<Piece>& pieces, GradientAnalysis& result) const {
    std::vector<ParameterGradient> all;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      all.push_back(figures_of_gradient(parameters.names[i], parameters.tensors[i],
                                        whole.gradient.narrow(0, pieces[i].first, pieces[i].length), whole.missing[i]));
    }
    if (config.compute_gradient_flow) {
      result.flow = flow_of(all);
    }
    if (config.compute_gradient_norms) {
      result.layers = layers_of(all, result.norm);
      result.parameters = std::move(all);
    }
  }

  void measure_parts(const GradientSource& source, const Batch& batch, const at::Tensor& whole,
                     const std::vector<Piece>& pieces, GradientAnalysis& result) const {
    const at::Tensor rows = source.of_parts(batch, config.micro_batches);
    for (std::size_t i = 0; i < result.parameters.size(); ++i) {
      result.parameters[i].signal_to_noise = signal_to_noise(rows.narrow(1, pieces[i].first, pieces[i].length));
    }
    if (config.compute_gradient_angles) {
      fill_pair_angles(row_cosines(rows), config.gradient_angle_threshold, result.angles);
      for (const LayerGradient& layer : result.layers) {
        result.angles.layers.emplace_back(layer.name, angle_of(layer.norm / result.norm));
      }
      result.angles.between_layers =
          entries_of(row_cosines(layer_contributions(rows, whole, pieces, source.parameters())));
      if (previous.defined() && previous.sizes() == whole.sizes()) {
        result.angles.previous = angle_of(entries_of(row_cosines(at::stack({previous, whole})))[1]);
      }
    }
    if (config.compute_gradient_correlation) {
      fill_correlation(rows, batch.size() / config.micro_batches, result.correlation);
      compare_classes(source, batch, result.correlation);
    }
  }

  // Classes with a single sample are left out: their gradient is that sample's.
  static void compare_classes(const GradientSource& source, const Batch& batch, GradientCorrelation& correlation) {
    const at::Tensor& target = batch.target;
    const bool classes = target.defined() && target.scalar_type() == at::kLong && target.dim() == 1 &&
                         batch.input.dim() > 0 && target.size(0) == batch.input.size(0) && batch.extra.empty();
    if (!classes || target.max().item<std::int64_t>() >= kMostClasses || target.min().item<std::int64_t>() < 0) {
      return;
    }
    std::vector<at::Tensor> rows;
    for (std::int64_t c = 0; c <= target.max().item<std::int64_t>(); ++c) {
      const at::Tensor members = target.eq(c).nonzero().reshape({-1});
      if (members.numel() >= 2) {
        rows.push_back(source.of({batch.input.index_select(0, members), target.index_select(0, members), {}}).gradient);
        correlation.classes.push_back(c);
      }
    }
    if (rows.size() >= 2) {
      correlation.between_classes = entries_of(row_cosines(at::stack(rows)));
    } else {
      correlation.classes.clear();
    }
  }

  void remember(const GradientAnalysis& result, const at::Tensor& gradient) {
    norms.push_back(result.norm);
    losses.push_back(result.loss);
    cosines.push_back(result.angles.previous.cosine);
    for (const LayerGradient& layer : result.layers) {
      if (!layer_norms.contains(layer.name)) {
        layer_order.push_back(layer.name);
      }
      layer_norms[layer.name].push_back(layer.norm);
    }
    previous = gradient;
    last = result;
  }

  GradientAnalysisConfig config;
  at::Tensor previous;
  GradientAnalysis last;
  std::vector<double> norms;
  std::vector<double> losses;
  std::vector<double> cosines;
  std::vector<std::string> layer_order;
  std::map<std::string, std::vector<double>> layer_norms;
};

GradientAnalyzer::GradientAnalyzer(GradientAnalysisConfig config) : impl_(std::make_unique<Impl>(std::move(config))) {}

GradientAnalyzer::~GradientAnalyzer() = default;

const GradientAnalysisConfig& GradientAnalyzer::config() const { return impl_->config; }

GradientAnalysis GradientAnalyzer::analyze_gradients(const Model& model, const LossFunction& loss_function,
                                                     const at::Tensor& input_data, const at::Tensor& target_data,
                                                     const StepRule& rule) {
  return impl_->analyze(model, loss_function, {input_data, target_data, {}}, rule);
}

GradientAnalysis GradientAnalyzer::analyze_gradients(const Model& model, const LossFunction& loss_function,
                                                     BatchSource& data, const StepRule& rule) {
  return impl_->analyze(model, loss_function, joined_batches(data, impl_->config.most_batches), rule);
}

GradientStatistics GradientAnalyzer::get_gradient_statistics() const {
  GradientStatistics statistics;
  statistics.analyses = std::ssize(impl_->norms);
  statistics.norm = spread_of(impl_->norms);
  statistics.loss = spread_of(impl_->losses);
  statistics.cosine_with_previous = spread_of(impl_->cosines);
  for (const std::string& layer : impl_->layer_order) {
    statistics.layers.emplace_back(layer, spread_of(impl_->layer_norms.at(layer)));
  }
  return statistics;
}

std::vector<Issue> GradientAnalyzer::detect_gradient_issues(const GradientAnalysis& results) const {
  return issues_of(results, impl_->config, std::ssize(impl_->norms));
}

PlotStatus GradientAnalyzer::plot_gradient_analysis(const std::filesystem::path& save_path,
                                                    const std::string& title) const {
  GRADWISE_CHECK(!impl_->norms.empty(), "analysis", "there is no analysis to plot yet: call analyze_gradients first");
  return draw(analysis_panels(impl_->last), title, save_path);
}

}  // namespace gradwise
