#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gradwise/core/fields.h"
#include "gradwise/core/model.h"
#include "gradwise/core/observer.h"
#include "gradwise/monitor/diagnosis.h"
#include "gradwise/monitor/rule_book.h"
#include "gradwise/monitor/watch.h"

namespace gradwise {

struct MonitorOptions {
  bool enabled = true;
  WatchOptions gradients = {};
  std::int64_t activations_every = 10;
  std::int64_t batches_every = 5;
  std::int64_t record_every = 20;
  std::int64_t probe_every = 10;
  RuleBookOptions rules = {};
  std::vector<std::string> stop_on = {};
  std::vector<std::string> skip_on = {};
  std::vector<std::string> roll_back_on = {};
};

template <class Fields>
void describe(Fields& fields, MonitorOptions& o) {
  fields.add("enabled", o.enabled, "watch gradients, weights, activations and data", anything());
  fields.group("gradients", o.gradients, "gradients and weights");
  fields.add("activations_every", o.activations_every,
             "optimizer steps between readings of activations, from the graph; 0: never", at_least(0));
  fields.add("batches_every", o.batches_every, "optimizer steps between readings of the data; 0: never", at_least(0));
  fields.add("record_every", o.record_every,
             "optimizer steps between readings that are put on record, in place of a ragged batch the next; 0: never",
             at_least(0));
  fields.add(
      "probe_every", o.probe_every,
      "optimizer steps between looks at what an update did to the loss of its own batch, where they are asked for",
      at_least(1));
  fields.group("rules", o.rules, "what is held against the readings");
  fields.add("stop_on", o.stop_on, "rules whose issues end the training", anything());
  fields.add("skip_on", o.skip_on, "rules whose issues make the training leave out the next batch", anything());
  fields.add("roll_back_on", o.roll_back_on,
             "rules whose issues take the training back to its last checkpoint, with half the learning rate",
             anything());
}

/// Rides on a training: reads each step (Watch, the loss's graph, the data), holds the rules against what it has seen,
/// and joins their issues into a diagnosis. No pass of its own, and a watched training has the same bits.
///
///   TrainingMonitor monitor(loop.model(), facts);
///   loop.add_observer(monitor);
///   loop.fit(training, &validation, loss);
///   std::puts(text_of(monitor.diagnosis().findings()).c_str());
class TrainingMonitor : public Observer {
 public:
  using Emit = std::function<void(Event)>;

  /// `emit` gets the readings that go on record and each issue when it is new; it may be empty. `facts.parameters` is
  /// filled in from the model.
  TrainingMonitor(const Model& model, RunFacts facts, MonitorOptions options = {}, Emit emit = nullptr);
  ~TrainingMonitor() override;

  Action on(const Moment& moment) override;

  /// Takes what gives the averaged weights, to tell how far they lag behind; names that are none of the parameters' are
  /// passed over.
  void watch_average(std::function<NamedParameters()> averages);

  /// At an interval, computes the loss of a step's last micro-batch once more after the update, with the same dropout
  /// masks: one more forward pass. Buffers and the random state stay as they were.
  void probe_with(LossFunction loss_function);

  /// Of the model's gradients.
  [[nodiscard]] Watch& watch();

  [[nodiscard]] const History& history() const;
  /// Those of the history; others from the step on that finds a parameter frozen or unfrozen.
  [[nodiscard]] std::shared_ptr<const RunFacts> facts() const;
  [[nodiscard]] const Diagnosis& diagnosis() const;
  [[nodiscard]] RuleBook& rules();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Names, shapes and which ask for a gradient.
[[nodiscard]] RunFacts facts_of(const Model& model);

}  // namespace gradwise
