#include "cli/models/model_factory.h"

#include "gradwise/adapters/torch_script.h"
#include "gradwise/core/error.h"

namespace gradwise {

const std::vector<std::string>& model_names() {
  static const std::vector<std::string> names{"mlp", "cnn", "resnet", "transformer", "script"};
  return names;
}

Model build_model(const ModelOptions& options, const ModelShape& shape) {
  check_fields("model", options);
  if (options.name == "mlp") {
    return build_mlp(options, shape);
  }
  if (options.name == "cnn") {
    return build_cnn(options, shape);
  }
  if (options.name == "resnet") {
    return build_resnet(options, shape);
  }
  if (options.name == "transformer") {
    return build_transformer(options, shape);
  }
  GRADWISE_CHECK(!options.file.empty(), "model", "model.file is empty, allowed: a TorchScript file");
  return load_script_model(options.file);
}

}  // namespace gradwise
