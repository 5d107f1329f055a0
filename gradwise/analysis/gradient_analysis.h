#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "gradwise/core/fields.h"
#include "gradwise/core/reading.h"

namespace gradwise {

/// How far a part of an analysis is, in products with a matrix. A part may end before its last one.
struct AnalysisProgress {
  std::string part;
  std::int64_t done = 0;
  std::int64_t total = 0;
};

struct GradientAnalysisConfig {
  bool compute_hessian = false;
  bool compute_gradient_norms = true;
  bool compute_gradient_angles = true;
  bool compute_gradient_correlation = true;
  bool compute_gradient_flow = true;
  double gradient_norm_threshold = 1.0;
  double gradient_angle_threshold = 0.1;
  std::int64_t micro_batches = 8;
  std::int64_t most_batches = 8;
  std::int64_t hessian_eigenvalues = 3;
  std::int64_t hessian_steps = 30;
  std::int64_t trace_vectors = 8;
  std::int64_t density_vectors = 2;
  bool hessian_layers = true;
  std::int64_t seed = 0;
  /// Told of the graph and of each product with the Hessian, in the thread that analyses.
  std::function<void(const AnalysisProgress&)> progress = nullptr;
};

template <class Fields>
void describe(Fields& fields, GradientAnalysisConfig& o) {
  fields.add("compute_hessian", o.compute_hessian, "eigenvalues, trace and density of the Hessian", anything());
  fields.add("compute_gradient_norms", o.compute_gradient_norms, "figures of each parameter's gradient", anything());
  fields.add("compute_gradient_angles", o.compute_gradient_angles,
             "angles between micro-batches, to the analysis before, between layers", anything());
  fields.add("compute_gradient_correlation", o.compute_gradient_correlation,
             "cosines between micro-batches and classes, diversity, confusion, noise scale", anything());
  fields.add("compute_gradient_flow", o.compute_gradient_flow, "gradients by depth", anything());
  fields.add("gradient_norm_threshold", o.gradient_norm_threshold,
             "global norm (L2) of the gradient above which large_gradient_norm is told", positive());
  fields.add("gradient_angle_threshold", o.gradient_angle_threshold,
             "radians beyond a right angle from which two gradients conflict: they do where their angle is above "
             "pi/2 + this",
             between(0, 1.5707963));
  fields.add("micro_batches", o.micro_batches, "equal parts that a batch is cut into for angles and noise",
             at_least(2));
  fields.add("most_batches", o.most_batches, "batches of a data set that are looked at", at_least(1));
  fields.add("hessian_eigenvalues", o.hessian_eigenvalues, "largest eigenvalues that are given", at_least(1));
  fields.add("hessian_steps", o.hessian_steps, "products with the Hessian at most, in a run of Lanczos", at_least(1));
  fields.add("trace_vectors", o.trace_vectors, "random vectors for its trace", at_least(2));
  fields.add("density_vectors", o.density_vectors, "runs of Lanczos for its density; the error needs two", at_least(1));
  fields.add("hessian_layers", o.hessian_layers, "largest eigenvalue and trace of each layer's block too", anything());
  fields.add("seed", o.seed, "of random vectors; the global generators are left alone", at_least(0));
}

/// A parameter's gradient on the whole batch. Exact.
struct ParameterGradient {
  std::string name;
  std::vector<std::int64_t> shape;
  bool missing = false;        ///< the loss does not depend on it
  double norm = kNotMeasured;  ///< L2
  double rms = kNotMeasured;   ///< norm over the root of the number of elements
  double mean = kNotMeasured;
  double variance = kNotMeasured;  ///< of the population of elements
  double largest = kNotMeasured;   ///< magnitude
  double sparsity = kNotMeasured;  ///< share of elements that are exactly 0
  double nonfinite = 0;            ///< share of elements
  /// |mean over micro-batches| / deviation between them, the median over elements; sampled (needs micro-batches).
  double signal_to_noise = kNotMeasured;
};

/// A layer: its parameters together.
struct LayerGradient {
  std::string name;
  double norm = kNotMeasured;
  double share = kNotMeasured;  ///< of the squared global norm: how much of the descent is its doing
};

/// Root mean squares of the weights' gradients from input to output. Exact.
struct GradientFlow {
  std::vector<std::string> weights;
  std::vector<double> rms;
  std::vector<double> neighbour_ratios;  ///< rms[i] / rms[i + 1]: below 1, the gradient shrinks on its way down
  double first_to_last = kNotMeasured;   ///< rms of the first weight over that of the last
};

/// cos and arccos (radians) of two gradients.
struct Angle {
  double cosine = kNotMeasured;
  double radians = kNotMeasured;
};

struct GradientAngles {
  Angle mean;    ///< mean cosine over all pairs of micro-batches, and the mean of their angles
  Angle widest;  ///< least cosine of a pair: gradient confusion in practice (Sankararaman et al. 2020)
  double conflicting = kNotMeasured;     ///< share of pairs beyond pi/2 + gradient_angle_threshold
  double standard_error = kNotMeasured;  ///< of the mean cosine, by the jackknife over micro-batches
  Angle previous;                        ///< with the gradient of the analysis before; not measured in the first
  /// Of each layer's part with the whole gradient: cos = |g_layer| / |g|.
  std::vector<std::pair<std::string, Angle>> layers;
  /// Between layers: cosine of their contributions <g_i, g> over the micro-batches i; 1 where two layers learn from the
  /// same samples. Row by row in the order of `layers`.
  std::vector<double> between_layers;
};

struct GradientCorrelation {
  std::vector<double> micro_batches;    ///< cosines, n x n row by row
  std::vector<double> centred;          ///< Pearson: cosines after each gradient's mean over coordinates is taken off
  std::vector<std::int64_t> classes;    ///< classes that the batch has samples of; empty where targets are no classes
  std::vector<double> between_classes;  ///< cosines between the mean gradients of classes
  double diversity = kNotMeasured;      ///< sum |g_i|^2 / |sum g_i|^2 (Yin et al. 2018)
  double confusion = kNotMeasured;  ///< least eta >= 0 with <g_i, g_j> >= -eta for all pairs (Sankararaman et al. 2020)
  /// tr(Sigma) / |G|^2 in samples, unbiased numerator and denominator (McCandlish et al. 2018, appendix A.1); not
  /// measured where the sampled |G|^2 is not positive.
  double noise_scale = kNotMeasured;
  double noise_scale_error = kNotMeasured;  ///< standard error, by the jackknife over at least 3 micro-batches
  std::int64_t suggested_batch_size = 0;    ///< the noise scale as a number of samples; 0: not measured
};

/// A diagonal block of the Hessian: the rows and columns of a layer's parameters.
struct LayerCurvature {
  std::string name;
  std::int64_t parameters = 0;          ///< rows
  double largest = kNotMeasured;        ///< eigenvalue
  double largest_error = kNotMeasured;  ///< its residual: the block has an eigenvalue that near
  double trace = kNotMeasured;          ///< sampled (Hutchinson)
  double trace_error = kNotMeasured;    ///< standard error
  std::int64_t products = 0;            ///< with the block
};

/// How near the learning rate is to what the curvature bears (step_rule.h says for which optimizers). On a quadratic
/// steps grow where `value` is above `threshold`; trainings with large batches rise up to it and hover there.
struct StabilityEdge {
  std::string optimizer;
  double learning_rate = kNotMeasured;
  double value = kNotMeasured;  ///< learning rate x the largest eigenvalue
  double error = kNotMeasured;  ///< learning rate x the residual
  double threshold = kNotMeasured;
  std::string unknown;          ///< why `value` is not measured; empty where it is
  bool preconditioned = false;  ///< the eigenvalue is the preconditioned Hessian's: Adam's, or rates by group
};

/// Eigenvalues and traces are in units of the loss over squared units of the weights.
struct HessianSummary {
  double sharpness = kNotMeasured;                 ///< largest eigenvalue
  std::vector<double> eigenvalues;                 ///< largest first, as far as asked for
  std::vector<double> eigenvalue_errors;           ///< residuals, at least rounding: an eigenvalue is that near
  double smallest = kNotMeasured;                  ///< least Ritz value: an upper bound on the least eigenvalue
  double trace = kNotMeasured;                     ///< sampled (Hutchinson)
  double trace_error = kNotMeasured;               ///< standard error
  std::vector<std::pair<double, double>> density;  ///< eigenvalue and density
  std::vector<double> density_errors;              ///< standard errors over the runs; empty where there is one run
  std::int64_t products = 0;                       ///< with the whole Hessian, of all batches of the analysis together
  std::vector<LayerCurvature> layers;
  StabilityEdge edge;
};

/// All that was asked for, of one batch or data set. What was not asked for is empty or not measured.
struct GradientAnalysis {
  double loss = kNotMeasured;
  std::int64_t samples = 0;
  double norm = kNotMeasured;  ///< global, L2
  std::vector<ParameterGradient> parameters;
  std::vector<LayerGradient> layers;
  GradientFlow flow;
  GradientAngles angles;
  GradientCorrelation correlation;
  double curvature_along_gradient = kNotMeasured;  ///< g'Hg / |g|^2; with compute_hessian
  HessianSummary hessian;
  std::vector<ActivationReading> activations;  ///< of the whole batch's forward pass
  std::vector<std::string> loss_path;
};

/// Over several analyses: means and deviations (n - 1).
struct Spread {
  std::int64_t count = 0;
  double mean = kNotMeasured;
  double deviation = kNotMeasured;
  double least = kNotMeasured;
  double greatest = kNotMeasured;
};

struct GradientStatistics {
  std::int64_t analyses = 0;
  Spread norm;
  Spread loss;
  Spread cosine_with_previous;
  std::vector<std::pair<std::string, Spread>> layers;  ///< norm of each layer
};

}  // namespace gradwise
