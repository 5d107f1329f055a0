#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gradwise/rules/all_rules.h"

namespace gradwise {

/// One step that a test may change before it becomes part of a history.
struct DraftStep {
  StepInfo info;
  StepReading reading;
  BatchReading batch;
};

using Change = std::function<void(DraftStep&)>;

/// A healthy training of a classifier of ten classes, 8 -> 16 -> 16 -> 10 with ReLU, batch 32: the loss falls from ln
/// 10 like exp(-step / 60) to 0.3 with a little noise that repeats, gradients and updates of usual size. Every step is
/// read in full. `change` sees each step (info.step counts from 1) before it is added.
inline History training(std::size_t steps, const Change& change = {}) {
  History history;
  history.facts.parameters = {{"0.weight", {16, 8}}, {"0.bias", {16}},       {"2.weight", {16, 16}},
                              {"2.bias", {16}},      {"4.weight", {10, 16}}, {"4.bias", {10}}};
  history.facts.loss = "cross_entropy";
  history.facts.optimizer = "adamw";
  history.facts.classes = 10;
  history.facts.batch_size = 32;
  history.facts.steps_per_epoch = 100;
  history.facts.planned_steps = 1000;
  history.facts.clip_max_norm = 1.0;
  for (std::size_t i = 1; i <= steps; ++i) {
    const auto t = static_cast<double>(i);
    const double noise = std::sin(12.9898 * t) * 0.03;
    DraftStep draft;
    draft.info.step = static_cast<std::int64_t>(i);
    draft.info.epoch = static_cast<std::int64_t>((i - 1) / 100);
    draft.info.samples = 32;
    draft.info.micro_batches = 1;
    draft.info.loss = 0.3 + (std::log(10.0) - 0.3) * std::exp(-(t - 1) / 60) * (1 + noise) + 0.3 * noise;
    draft.info.grad_norm = 0.8 * (1 + 5 * noise);
    draft.info.grad_norm_clipped = std::min(1.0, draft.info.grad_norm);
    draft.info.lr = 1e-3;
    draft.info.param_norm = 6;
    draft.info.update_norm = 6e-3;
    draft.info.update_ratio = 1e-3;
    draft.reading.step = draft.info.step;
    for (const ParameterFacts& facts : history.facts.parameters) {
      ParameterReading p;
      p.grad_norm = 0.3 * (1 + 5 * noise);
      p.grad_mean_abs = 0.02;
      p.grad_max = 0.1;
      p.grad_min_value = -0.1;
      p.grad_max_value = 0.09;
      p.grad_mean = 1e-4;
      p.grad_variance = 6e-4;
      p.grad_zeros = 0.05;
      p.grad_cosine = 0.2 + 5 * noise;
      p.weight_norm = 3;
      p.weight_mean = 0.001;
      p.weight_variance = is_weight(facts) ? 1.0 / static_cast<double>(facts.shape[1]) : 0.01;
      p.weight_max = 0.8;
      p.update_norm = 3e-3;
      p.update_ratio = 1e-3;
      draft.reading.parameters.push_back(p);
    }
    for (const char* layer : {"0", "2"}) {
      draft.reading.activations.push_back({.layer = layer,
                                           .op = "relu",
                                           .elements = 512,
                                           .zeros = 0.5,
                                           .dead = 0.05,
                                           .saturated = kNotMeasured,
                                           .nonfinite = 0,
                                           .mean = 0.4,
                                           .variance = 0.3,
                                           .grad_norm = 0.02});
    }
    draft.reading.loss_path = {"log_softmax", "nll"};
    draft.batch.samples = 32;
    draft.batch.input_mean = 0.02;
    draft.batch.input_deviation = 1;
    draft.batch.input_max = 3;
    draft.batch.labels = {4, 3, 3, 3, 3, 3, 3, 3, 3, 4};
    draft.batch.output_min = -3;
    draft.batch.output_max = 4;
    draft.batch.output_deviation = 1;
    draft.batch.accuracy = 1 - 0.9 * std::exp(-t / 60);
    if (change) {
      change(draft);
    }
    draft.reading.batch = std::make_shared<const BatchReading>(std::move(draft.batch));
    history.add({draft.info, std::make_shared<const StepReading>(std::move(draft.reading))});
  }
  return history;
}

inline Change both_of(const Change& first, const Change& second) {
  return [=](DraftStep& step) {
    first(step);
    second(step);
  };
}

inline History with_facts(History history, const std::function<void(RunFacts&)>& change) {
  change(history.facts);
  return history;
}

/// Names of the layers that the rule finds something about.
inline std::vector<std::string> layers_found(const Rule& rule, const History& history) {
  std::vector<std::string> layers;
  for (const Issue& issue : rule.issues(history)) {
    EXPECT_EQ(issue.rule, rule.name);
    EXPECT_FALSE(issue.message.empty());
    EXPECT_FALSE(issue.advice.empty());
    layers.push_back(issue.layer);
  }
  return layers;
}

inline bool fires(const Rule& rule, const History& history) { return !rule.issues(history).empty(); }

}  // namespace gradwise
