#include "gradwise/analysis/analysis_json.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "gradwise/core/severity.h"

namespace gradwise {
namespace {

using Json = nlohmann::json;

Json figure_json(double value) { return std::isfinite(value) ? Json(value) : Json(); }

Json list_json(const std::vector<double>& values) {
  Json list = Json::array();
  for (const double value : values) {
    list.push_back(figure_json(value));
  }
  return list;
}

Json angle_json(const Angle& angle) {
  return {{"cosine", figure_json(angle.cosine)}, {"radians", figure_json(angle.radians)}};
}

Json pairs_json(const std::vector<std::pair<double, double>>& pairs) {
  Json list = Json::array();
  for (const auto& [first, second] : pairs) {
    list.push_back({figure_json(first), figure_json(second)});
  }
  return list;
}

Json parameters_json(const std::vector<ParameterGradient>& parameters) {
  Json list = Json::array();
  for (const ParameterGradient& p : parameters) {
    list.push_back({{"name", p.name},
                    {"shape", p.shape},
                    {"missing", p.missing},
                    {"norm", figure_json(p.norm)},
                    {"rms", figure_json(p.rms)},
                    {"mean", figure_json(p.mean)},
                    {"variance", figure_json(p.variance)},
                    {"largest", figure_json(p.largest)},
                    {"sparsity", figure_json(p.sparsity)},
                    {"nonfinite", figure_json(p.nonfinite)},
                    {"signal_to_noise", figure_json(p.signal_to_noise)}});
  }
  return list;
}

Json angles_json(const GradientAngles& angles) {
  Json layers = Json::object();
  for (const auto& [name, angle] : angles.layers) {
    layers[name] = angle_json(angle);
  }
  return {{"mean", angle_json(angles.mean)},
          {"widest", angle_json(angles.widest)},
          {"conflicting", figure_json(angles.conflicting)},
          {"standard_error", figure_json(angles.standard_error)},
          {"previous", angle_json(angles.previous)},
          {"layers", layers},
          {"between_layers", list_json(angles.between_layers)}};
}

Json correlation_json(const GradientCorrelation& c) {
  return {{"micro_batches", list_json(c.micro_batches)},
          {"centred", list_json(c.centred)},
          {"classes", c.classes},
          {"between_classes", list_json(c.between_classes)},
          {"diversity", figure_json(c.diversity)},
          {"confusion", figure_json(c.confusion)},
          {"noise_scale", figure_json(c.noise_scale)},
          {"noise_scale_error", figure_json(c.noise_scale_error)},
          {"suggested_batch_size", c.suggested_batch_size}};
}

Json layers_json(const std::vector<LayerCurvature>& layers) {
  Json list = Json::array();
  for (const LayerCurvature& layer : layers) {
    list.push_back({{"name", layer.name},
                    {"parameters", layer.parameters},
                    {"largest", figure_json(layer.largest)},
                    {"largest_error", figure_json(layer.largest_error)},
                    {"trace", figure_json(layer.trace)},
                    {"trace_error", figure_json(layer.trace_error)},
                    {"products", layer.products}});
  }
  return list;
}

Json spread_json(const Spread& spread) {
  return {{"count", spread.count},
          {"mean", figure_json(spread.mean)},
          {"deviation", figure_json(spread.deviation)},
          {"least", figure_json(spread.least)},
          {"greatest", figure_json(spread.greatest)}};
}

}  // namespace

void to_json(Json& json, const GradientAnalysis& a) {
  Json layers = Json::array();
  for (const LayerGradient& layer : a.layers) {
    layers.push_back({{"name", layer.name}, {"norm", figure_json(layer.norm)}, {"share", figure_json(layer.share)}});
  }
  Json activations = Json::array();
  for (const ActivationReading& activation : a.activations) {
    activations.push_back({{"layer", activation.layer},
                           {"op", activation.op},
                           {"dead", figure_json(activation.dead)},
                           {"saturated", figure_json(activation.saturated)},
                           {"nonfinite", figure_json(activation.nonfinite)}});
  }
  json = {{"loss", figure_json(a.loss)},
          {"samples", a.samples},
          {"norm", figure_json(a.norm)},
          {"parameters", parameters_json(a.parameters)},
          {"layers", layers},
          {"flow",
           {{"weights", a.flow.weights},
            {"rms", list_json(a.flow.rms)},
            {"neighbour_ratios", list_json(a.flow.neighbour_ratios)},
            {"first_to_last", figure_json(a.flow.first_to_last)}}},
          {"angles", angles_json(a.angles)},
          {"correlation", correlation_json(a.correlation)},
          {"curvature_along_gradient", figure_json(a.curvature_along_gradient)},
          {"hessian", a.hessian},
          {"activations", activations}};
}

void to_json(Json& json, const HessianSummary& h) {
  json = {{"sharpness", figure_json(h.sharpness)},
          {"eigenvalues", list_json(h.eigenvalues)},
          {"eigenvalue_errors", list_json(h.eigenvalue_errors)},
          {"smallest", figure_json(h.smallest)},
          {"trace", figure_json(h.trace)},
          {"trace_error", figure_json(h.trace_error)},
          {"density", pairs_json(h.density)},
          {"density_errors", list_json(h.density_errors)},
          {"products", h.products},
          {"layers", layers_json(h.layers)},
          {"edge_of_stability",
           {{"optimizer", h.edge.optimizer},
            {"learning_rate", figure_json(h.edge.learning_rate)},
            {"value", figure_json(h.edge.value)},
            {"error", figure_json(h.edge.error)},
            {"threshold", figure_json(h.edge.threshold)},
            {"preconditioned", h.edge.preconditioned},
            {"unknown", h.edge.unknown}}}};
}

void to_json(Json& json, const GradientStatistics& s) {
  Json layers = Json::object();
  for (const auto& [name, spread] : s.layers) {
    layers[name] = spread_json(spread);
  }
  json = {{"analyses", s.analyses},
          {"norm", spread_json(s.norm)},
          {"loss", spread_json(s.loss)},
          {"cosine_with_previous", spread_json(s.cosine_with_previous)},
          {"layers", layers}};
}

Json issue_json(const Issue& issue) {
  return {{"rule", issue.rule},
          {"layer", issue.layer},
          {"severity", name_of(issue.severity)},
          {"step", issue.step},
          {"value", figure_json(issue.value)},
          {"threshold", figure_json(issue.threshold)},
          {"message", issue.message},
          {"advice", issue.advice}};
}

}  // namespace gradwise
