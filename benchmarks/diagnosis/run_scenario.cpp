#include "benchmarks/diagnosis/run_scenario.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/mse_loss.h>
#include <ATen/ops/nll_loss.h>
#include <ATen/ops/randn_like.h>

#include <cmath>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "gradwise/core/error.h"
#include "gradwise/data/loader.h"
#include "gradwise/monitor/training_monitor.h"
#include "gradwise/train/loop.h"

namespace gradwise::bench {
namespace {

using nlohmann::json;

// Batches of a loader, some of them spoilt.
class SpikingSource : public BatchSource {
 public:
  SpikingSource(DataLoader& loader, std::int64_t every) : loader_(&loader), every_(every) {}
  void start(std::int64_t epoch, std::int64_t position) override { loader_->start(epoch, position); }
  bool next(Batch& batch) override {
    if (!loader_->next(batch)) {
      return false;
    }
    if (every_ > 0 && ++count_ % every_ == 0) {
      batch.input = batch.input.mul(1000);
    }
    return true;
  }
  [[nodiscard]] std::int64_t batches_per_epoch() const override { return loader_->batches_per_epoch(); }

 private:
  DataLoader* loader_;
  std::int64_t every_;
  std::int64_t count_ = 0;
};

LossFunction loss_of(const std::string& name) {
  if (name == "mse") {
    return [](const at::Tensor& output, const at::Tensor& target) { return at::mse_loss(output, target); };
  }
  if (name == "nll") {
    return [](const at::Tensor& output, const at::Tensor& target) { return at::nll_loss(output, target); };
  }
  return [](const at::Tensor& output, const at::Tensor& target) { return at::cross_entropy_loss(output, target); };
}

RunFacts facts_for(const Program& program, std::int64_t batches) {
  RunFacts facts;
  facts.loss = program.loss;
  facts.optimizer = program.optimizer.name;
  facts.precision = program.loop.step.precision == "underflow" ? "float16" : "float32";
  facts.classes = program.samples.classes ? program.samples.outputs : 0;
  facts.batch_size = program.scenario.batch_size;
  facts.steps_per_epoch = batches;
  facts.planned_steps = program.scenario.steps;
  facts.weight_decay = program.optimizer.weight_decay;
  facts.decoupled_decay = is_decay_decoupled(program.optimizer.name);
  facts.momentum = program.optimizer.momentum;
  if (program.loop.step.clip.method == "norm") {
    facts.clip_max_norm = program.loop.step.clip.max_norm;
  }
  return facts;
}

// The gradients of the last step stay, so that the next ones are added to them.
void keep_gradients(AutogradTrainingLoop& loop) {
  auto kept = std::make_shared<std::vector<at::Tensor>>();
  loop.on(Point::backward_end, [kept, &loop](const Moment&) {
    kept->clear();
    for (const at::Tensor& parameter : loop.model().parameters.tensors) {
      kept->push_back(parameter.grad().defined() ? parameter.grad().clone() : at::Tensor());
    }
    return Action::proceed;
  });
  loop.on(Point::batch_start, [kept, &loop](const Moment&) {
    for (std::size_t i = 0; i < kept->size(); ++i) {
      if ((*kept)[i].defined()) {
        at::Tensor(loop.model().parameters.tensors[i]).mutable_grad() = (*kept)[i].clone();
      }
    }
    return Action::proceed;
  });
}

// Moments as another training would have left them: far larger than this one's gradients.
void spoil_state(AutogradTrainingLoop& loop) {
  loop.on(Point::step_end, [&loop](const Moment& moment) {
    if (moment.step == 1) {
      State state = loop.optimizer().state();
      for (auto& [name, tensor] : state.tensors) {
        const bool first = name.find("exp_avg") != std::string::npos && name.find("exp_avg_sq") == std::string::npos;
        if (first || name.find("momentum_buffer") != std::string::npos) {
          tensor = at::randn_like(tensor).mul(tensor.abs().mean().mul(100));
        }
      }
      loop.optimizer().load_state(state);
    }
    return Action::proceed;
  });
}

struct Peer {
  std::string name;
  RuleBook book;
  std::map<std::string, std::int64_t> first;  // rule -> step
};

void listen(Peer& peer, const History& history) {
  for (const Issue& issue : peer.book.check(history)) {
    peer.first.try_emplace(issue.rule, issue.step);
  }
}

json findings_json(const std::vector<Finding>& findings) {
  json list = json::array();
  for (const Finding& finding : findings) {
    json evidence = json::array();
    for (const Issue& issue : finding.evidence) {
      evidence.push_back({{"rule", issue.rule}, {"layer", issue.layer}, {"step", issue.step}, {"text", issue.message}});
    }
    list.push_back({{"cause", finding.cause},
                    {"layer", finding.layer},
                    {"step", finding.step},
                    {"confidence", finding.confidence},
                    {"evidence", evidence}});
  }
  return list;
}

double median_of_last(const std::vector<double>& losses) {
  const std::size_t count = std::min<std::size_t>(20, losses.size());
  return median_of({losses.end() - static_cast<std::ptrdiff_t>(count), losses.end()});
}

// Loss and accuracy on held-out data, with the loss that the program should have had.
void test_program(const Program& program, const Model& model, json& result) {
  const at::NoGradGuard no_grad;
  const TrainingModeGuard evaluation(model, false);
  const at::Tensor output = model.forward({program.samples.test.inputs, {}, {}});
  const at::Tensor& target = program.samples.test.targets;
  const at::Tensor loss = loss_of(program.samples.classes ? "cross_entropy" : "mse")(output, target);
  result["test_loss"] = to_json_number(loss.item<double>());
  if (program.samples.classes) {
    result["test_accuracy"] = output.argmax(1).eq(target).to(at::kDouble).mean().item<double>();
  }
}

MonitorOptions watch_options() {
  MonitorOptions options;
  options.activations_every = options.batches_every = 2;
  options.rules.every = 5;
  options.record_every = 0;
  options.probe_every = 5;
  return options;
}

}  // namespace

json run_scenario(Program program) {
  const bool underflow = program.loop.step.precision == "underflow";
  program.loop.step.precision = "float32";
  program.loop.step.on_nonfinite = "skip";
  const std::vector<std::int64_t> sample(program.samples.train.inputs.sizes().begin() + 1,
                                         program.samples.train.inputs.sizes().end());
  const Model model = make_network(program.scenario, sample, program.samples.outputs, program.network);
  LossFunction loss = loss_of(program.loss);
  if (underflow) {  // what float16 makes of small gradients: those below its least number become 0
    loss = [loss](const at::Tensor& output, const at::Tensor& target) {
      const at::Tensor rounded = output.mul(1);
      if (rounded.requires_grad()) {
        rounded.register_hook(
            [](const at::Tensor& gradient) { return gradient.mul(3e-6).to(at::kHalf).to(at::kFloat); });
      }
      return loss(rounded, target);
    };
  }
  DataLoader loader(program.samples.train, {.batch_size = program.scenario.batch_size,
                                            .shuffle = program.shuffled,
                                            .seed = program.scenario.seed + 1,
                                            .drop_last = true,
                                            .prefetch = 0});
  SpikingSource source(loader, program.spikes_every);
  AutogradTrainingLoop loop(model, program.optimizer, program.loop);
  if (program.keeps_gradients) {
    keep_gradients(loop);
  }
  if (program.stale_state) {
    spoil_state(loop);
  }
  TrainingMonitor monitor(model, facts_for(program, loader.batches_per_epoch()), watch_options());
  monitor.probe_with(loss);
  loop.add_observer(monitor);
  std::vector<Peer> peers;
  for (const char* name : {"sagemaker", "autotrainer"}) {
    peers.push_back({name, RuleBook({.sets = {name}}), {}});
  }
  std::vector<double> losses;
  loop.on(Point::step_end, [&](const Moment& moment) {
    losses.push_back(std::get<StepInfo>(moment.event->payload).loss);
    if (moment.step % 5 == 0) {
      for (Peer& peer : peers) {
        listen(peer, monitor.history());
      }
    }
    return moment.step >= program.scenario.steps ? Action::stop : Action::proceed;
  });
  json result;
  try {
    (void)loop.fit(source, nullptr, loss);
  } catch (const Error& error) {
    result["error"] = error.what();
  }
  result["first_loss"] = losses.empty() ? json() : to_json_number(losses.front());
  result["last_loss"] = losses.empty() ? json() : to_json_number(median_of_last(losses));
  test_program(program, model, result);
  result["findings"] = findings_json(monitor.diagnosis().findings());
  for (const Peer& peer : peers) {
    result[peer.name] = peer.first;
  }
  return result;
}

}  // namespace gradwise::bench
