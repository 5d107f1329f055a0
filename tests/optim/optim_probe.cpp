// Runs an optimizer, an average or a loss scaler over given numbers, for optim_probe.py. One JSON case a line:
//   {"kind": "optimizer", "options": {"name": "adamw"}, "loss": "linear", "steps": 200, "input": IN, "output": OUT}
//     IN: parameters p/<name>, and g/<name> with one row a step. "linear": the gradient of step i is row i.
//     "quadratic": the loss is 1/2 sum c (p - t)^2 with t and c the rows 0 and 1. OUT: the parameters at the end.
//   {"kind": "ema", "options": {"decay": 0.9}, "save_at": [1, 10], "input": IN, "output": OUT}
//     IN: p/<name> and buffers b/<name>, row 0 the start, row i the values of update i. OUT: averages <step>/<name>.
//   {"kind": "scaler", "options": {}, "input": IN, "output": OUT}
//     IN: g, one row of gradients a step. OUT: those unscaled, and scale, tracker and finite after each step; the
//     state as metadata.
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <exception>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gradwise/data/new_tensor.h"
#include "gradwise/data/safetensors.h"
#include "gradwise/optim/autograd_optimizer.h"
#include "gradwise/optim/ema.h"
#include "gradwise/optim/grad_scaler.h"
#include "tests/optim/json_fields.h"

namespace gradwise {
namespace {

using nlohmann::json;
using Tensors = std::map<std::string, at::Tensor>;

/// The tensors whose names start with `prefix`, by the rest of their names.
NamedParameters with_prefix(const Tensors& tensors, const std::string& prefix) {
  NamedParameters found;
  for (const auto& [name, tensor] : tensors) {
    if (name.starts_with(prefix)) {
      found.add(name.substr(prefix.size()), tensor);
    }
  }
  return found;
}

at::Tensor linear_loss(const NamedParameters& parameters, const NamedParameters& rows, std::int64_t step) {
  at::Tensor total;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor part = parameters.tensors[i].mul(rows.tensors[i].select(0, step)).sum();
    total = total.defined() ? total.add(part) : part;
  }
  return total;
}

at::Tensor quadratic_loss(const NamedParameters& parameters, const NamedParameters& rows) {
  at::Tensor total;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor away = parameters.tensors[i].sub(rows.tensors[i].select(0, 0));
    const at::Tensor part = away.square().mul(rows.tensors[i].select(0, 1)).sum().mul(0.5);
    total = total.defined() ? total.add(part) : part;
  }
  return total;
}

Tensors run_optimizer(const json& test, const Tensors& input) {
  const NamedParameters rows = with_prefix(input, "g/");
  const bool linear = test.at("loss").get<std::string>() == "linear";
  std::int64_t step = 0;
  Model model;
  model.parameters = with_prefix(input, "p/");
  for (const at::Tensor& parameter : model.parameters.tensors) {
    parameter.requires_grad_();
  }
  model.forward = [&step, &rows, linear, parameters = model.parameters](const Batch&) {
    return linear ? linear_loss(parameters, rows, step) : quadratic_loss(parameters, rows);
  };
  const LossFunction output_itself = [](const at::Tensor& output, const at::Tensor&) { return output; };
  AutogradOptimizerOptions options;
  options.clip.method = "none";
  options.weight_statistics_every = 0;
  AutogradOptimizer optimizer(model, read_options<OptimizerOptions>(test.at("options")), options);
  const at::Tensor nothing = new_tensor({1}, at::kFloat);
  for (const auto steps = test.at("steps").get<std::int64_t>(); step < steps; ++step) {
    const StepInfo info = optimizer.step(output_itself, nothing, nothing);
    GRADWISE_CHECK(!info.skipped, "probe", "step ", step, " was skipped");
  }
  Tensors output;
  for (std::size_t i = 0; i < model.parameters.size(); ++i) {
    output[model.parameters.names[i]] = model.parameters.tensors[i].detach();
  }
  return output;
}

NamedParameters row_of(const NamedParameters& series, std::int64_t row) {
  NamedParameters values;
  for (std::size_t i = 0; i < series.size(); ++i) {
    values.add(series.names[i], series.tensors[i].select(0, row).clone());
  }
  return values;
}

void take_row(const NamedParameters& tensors, const NamedParameters& series, std::int64_t row) {
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    at::Tensor(tensors.tensors[i]).copy_(series.tensors[i].select(0, row));
  }
}

Tensors run_ema(const json& test, const Tensors& input) {
  const NamedParameters parameter_series = with_prefix(input, "p/");
  const NamedParameters buffer_series = with_prefix(input, "b/");
  const NamedParameters parameters = row_of(parameter_series, 0);
  const NamedParameters buffers = row_of(buffer_series, 0);
  for (const at::Tensor& parameter : parameters.tensors) {
    parameter.requires_grad_();
  }
  ExponentialMovingAverage ema(parameters, read_options<EmaOptions>(test.at("options")), buffers);
  const auto save_at = test.at("save_at").get<std::set<std::int64_t>>();
  Tensors output;
  for (std::int64_t step = 1; step < parameter_series.tensors.front().size(0); ++step) {
    take_row(parameters, parameter_series, step);
    take_row(buffers, buffer_series, step);
    ema.update();
    if (save_at.contains(step)) {
      const NamedParameters averages = ema.averages();
      for (std::size_t i = 0; i < averages.size(); ++i) {
        output[std::to_string(step) + "/" + averages.names[i]] = averages.tensors[i].clone();
      }
    }
  }
  return output;
}

at::Tensor column(const std::vector<double>& values) {
  at::Tensor tensor = new_tensor({static_cast<std::int64_t>(values.size())}, at::kDouble);
  std::copy(values.begin(), values.end(), tensor.mutable_data_ptr<double>());
  return tensor;
}

Tensors run_scaler(const json& test, const Tensors& input, std::map<std::string, std::string>& metadata) {
  const at::Tensor& rows = input.at("g");
  at::Tensor unscaled = rows.clone();
  const at::Tensor parameter = rows.select(0, 0).clone().zero_().requires_grad_();
  GradScaler scaler(read_options<GradScalerOptions>(test.at("options")));
  std::vector<double> scale;
  std::vector<double> tracker;
  std::vector<double> finite;
  for (std::int64_t step = 0; step < rows.size(0); ++step) {
    scaler.scale(parameter.mul(rows.select(0, step)).sum()).backward();
    finite.push_back(scaler.unscale({parameter.grad()}) ? 1 : 0);
    unscaled.select(0, step).copy_(parameter.grad());
    at::Tensor(parameter).mutable_grad().reset();
    scaler.update();
    scale.push_back(scaler.get_scale());
    tracker.push_back(static_cast<double>(scaler.growth_tracker()));
  }
  metadata["state"] = scaler.state().values.dump();
  return {{"g", unscaled}, {"scale", column(scale)}, {"tracker", column(tracker)}, {"finite", column(finite)}};
}

void run(const json& test) {
  const Tensors input = read_safetensors(test.at("input").get<std::string>()).tensors;
  const auto kind = test.at("kind").get<std::string>();
  std::map<std::string, std::string> metadata;
  const Tensors output = kind == "optimizer" ? run_optimizer(test, input)
                         : kind == "ema"     ? run_ema(test, input)
                                             : run_scaler(test, input, metadata);
  write_safetensors(test.at("output").get<std::string>(), output, metadata);
}

}  // namespace
}  // namespace gradwise

int main() {
  try {
    for (std::string line; std::getline(std::cin, line);) {
      gradwise::run(nlohmann::json::parse(line));
    }
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}
