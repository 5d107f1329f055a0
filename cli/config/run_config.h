#pragma once

#include <filesystem>
#include <string>

#include "cli/models/model_factory.h"
#include "gradwise/analysis/gradient_analysis.h"
#include "gradwise/core/fields.h"
#include "gradwise/data/csv.h"
#include "gradwise/data/loader.h"
#include "gradwise/data/text_windows.h"
#include "gradwise/monitor/training_monitor.h"
#include "gradwise/optim/optimizer_options.h"
#include "gradwise/record/recorder.h"
#include "gradwise/record/terminal.h"
#include "gradwise/train/loop_options.h"
#include "gradwise/train/losses.h"

namespace gradwise {

/// Where a run goes and what it runs on.
struct RunOptions {
  std::string dir = {};
  std::int64_t threads = 0;
  std::string device = "cpu";
  bool jsonl = true;
  bool tensorboard = true;
  RecorderOptions recorder = {};
  TerminalOptions terminal = {};
};

template <class Fields>
void describe(Fields& fields, RunOptions& o) {
  fields.add("dir", o.dir, "folder of the run; empty: runs/<name of the configuration>-<date and time>", anything());
  fields.add("threads", o.threads, "threads of an operator; 0: one a core", between(0, 1024));
  fields.add("device", o.device, "cpu, cuda, cuda:1, ...", anything());
  fields.add("jsonl", o.jsonl, "write events.jsonl", anything());
  fields.add("tensorboard", o.tensorboard, "write a TensorBoard event file", anything());
  fields.group("recorder", o.recorder, "writing of the records");
  fields.group("terminal", o.terminal, "what is shown while it runs");
}

/// Where the data come from.
struct DataOptions {
  std::string kind = "idx";
  std::string train_images = {};
  std::string train_labels = {};
  std::string test_images = {};
  std::string test_labels = {};
  std::string file = {};
  std::string test_file = {};
  std::string inputs = "x";
  std::string targets = "y";
  double validation_split = 0;
  std::int64_t limit = 0;
  std::int64_t classes = 0;
  bool standardize_targets = false;
  CsvOptions csv = {};
  WindowOptions text = {};
};

template <class Fields>
void describe(Fields& fields, DataOptions& o) {
  fields.add("kind", o.kind, "format of the files", one_of({"idx", "csv", "npz", "safetensors", "text"}));
  fields.add("train_images", o.train_images, "idx: images to train on, plain or gzip", anything());
  fields.add("train_labels", o.train_labels, "idx: their labels", anything());
  fields.add("test_images", o.test_images, "idx: images to test on; empty: see validation_split", anything());
  fields.add("test_labels", o.test_labels, "idx: their labels", anything());
  fields.add("file", o.file, "csv, npz, safetensors, text: the data to train on", anything());
  fields.add("test_file", o.test_file, "csv, npz, safetensors, text: the data to test on", anything());
  fields.add("inputs", o.inputs, "npz, safetensors: name of the array of inputs", anything());
  fields.add("targets", o.targets, "npz, safetensors: name of the array of targets", anything());
  fields.add("validation_split", o.validation_split,
             "share of the training data that is held out where no test data are given", from_below(0, 1));
  fields.add("limit", o.limit, "only this many training samples; 0: all", at_least(0));
  fields.add("classes", o.classes, "number of classes; 0: one more than the largest label", at_least(0));
  fields.add(
      "standardize_targets", o.standardize_targets,
      "train on numbers to predict less their mean, over their deviation, both of the training data; the loss is "
      "of these, metrics are in the data's own units",
      anything());
  fields.group("csv", o.csv, "reading of CSV");
  fields.group("text", o.text, "windows over a text");
}

struct LossOptions {
  std::string name = "cross_entropy";
  double label_smoothing = 0;
};

template <class Fields>
void describe(Fields& fields, LossOptions& o) {
  fields.add("name", o.name, "which loss", one_of(loss_names()));
  fields.add("label_smoothing", o.label_smoothing, "cross_entropy: weight of the uniform distribution", between(0, 1));
}

/// Everything that `gradwise train` needs; a TOML file has these groups as tables.
struct RunConfig {
  RunOptions run = {};
  DataOptions data = {};
  LoaderOptions loader = {};
  ModelOptions model = {};
  LossOptions loss = {};
  OptimizerOptions optimizer = {};
  LoopOptions train = {};
  MonitorOptions watch = {};
  GradientAnalysisConfig analysis = {};
};

template <class Fields>
void describe(Fields& fields, RunConfig& o) {
  fields.group("run", o.run, "where a run goes and what it runs on");
  fields.group("data", o.data, "where the data come from");
  fields.group("loader", o.loader, "batches of the training data");
  fields.group("model", o.model, "the network");
  fields.group("loss", o.loss, "what is minimised");
  fields.group("optimizer", o.optimizer, "how it is minimised");
  fields.group("train", o.train, "the training");
  fields.group("watch", o.watch, "what is seen of the training while it runs");
  fields.group("analysis", o.analysis, "what `gradwise analyze` looks at");
}

/// Makes the paths of files whole, so that the run can go on from anywhere: what does not stand in the working folder
/// is looked for beside the configuration.
void resolve_paths(RunConfig& config, const std::filesystem::path& beside);

/// What single fields can't say: files that are needed and exist, names that belong together.
void check_config(const RunConfig& config);

}  // namespace gradwise
