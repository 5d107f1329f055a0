#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gradwise/core/fields.h"
#include "gradwise/core/model.h"

namespace gradwise {

[[nodiscard]] const std::vector<std::string>& model_names();

/// A built-in model as a configuration names it. Each model uses the fields that it needs.
struct ModelOptions {
  std::string name = "mlp";
  std::vector<std::int64_t> hidden = {256, 128};
  std::vector<std::int64_t> channels = {32, 64};
  std::int64_t depth = 2;
  std::int64_t width = 64;
  std::int64_t heads = 4;
  double dropout = 0;
  bool batch_norm = false;
  std::string activation = "relu";
  std::string file = {};
};

template <class Fields>
void describe(Fields& fields, ModelOptions& o) {
  fields.add("name", o.name, "which model", one_of(model_names()));
  fields.add("hidden", o.hidden, "units of the hidden layers (mlp, and the layers behind the convolutions of cnn)",
             at_least(1));
  fields.add("channels", o.channels, "channels of the 3x3 convolutions, each followed by 2x2 max-pooling (cnn)",
             at_least(1));
  fields.add("depth", o.depth, "residual blocks in each of three stages (resnet); layers (transformer)", at_least(1));
  fields.add("width", o.width, "channels of the first stage (resnet); size of the embedding (transformer)",
             at_least(1));
  fields.add("heads", o.heads, "attention heads (transformer)", at_least(1));
  fields.add("dropout", o.dropout, "share of units dropped (mlp, cnn, transformer)", from_below(0, 1));
  fields.add("batch_norm", o.batch_norm, "normalise behind each convolution (cnn)", anything());
  fields.add("activation", o.activation, "nonlinearity (mlp, cnn)", one_of({"relu", "gelu", "tanh", "sigmoid"}));
  fields.add("file", o.file, "TorchScript file of torch.jit.save (script)", anything());
}

/// What the data ask of a model.
struct ModelShape {
  std::vector<std::int64_t> sample;  ///< shape of one input, as (1, 28, 28); (T) for tokens
  std::int64_t outputs = 1;          ///< classes, numbers to predict, or size of the vocabulary
};

/// Builds the named model with fresh weights from the default generator.
[[nodiscard]] Model build_model(const ModelOptions& options, const ModelShape& shape);

// One each for the models of their names.
[[nodiscard]] Model build_mlp(const ModelOptions& options, const ModelShape& shape);
[[nodiscard]] Model build_cnn(const ModelOptions& options, const ModelShape& shape);
[[nodiscard]] Model build_resnet(const ModelOptions& options, const ModelShape& shape);
[[nodiscard]] Model build_transformer(const ModelOptions& options, const ModelShape& shape);

}  // namespace gradwise
