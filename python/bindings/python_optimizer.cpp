#include "python/bindings/python_optimizer.h"

#include <ATen/ops/empty.h>
#include <torch/optim/optimizer.h>
#include <torch/serialize/input-archive.h>
#include <torch/serialize/output-archive.h>

#include <cstring>
#include <string>
#include <vector>

#include "python/bindings/held.h"

namespace gradwise::python {
namespace {

// A group's dict, which a schedule of Python's may change as well.
struct PythonGroup : torch::optim::OptimizerOptions {
  explicit PythonGroup(Held g) : group(std::move(g)) {}
  Held group;

  [[nodiscard]] std::unique_ptr<torch::optim::OptimizerOptions> clone() const override {
    return std::make_unique<PythonGroup>(group);
  }
  [[nodiscard]] double get_lr() const override {
    return with_python([this] { return py::float_((*group)["lr"]).cast<double>(); });
  }
  void set_lr(double lr) override {
    with_python([this, lr] {
      const py::object now = (*group)["lr"];
      if (THPVariable_Check(now.ptr())) {
        now.attr("fill_")(lr);
      } else {
        (*group)["lr"] = lr;
      }
    });
  }
};

std::vector<torch::optim::OptimizerParamGroup> groups_of(const py::object& optimizer) {
  std::vector<torch::optim::OptimizerParamGroup> groups;
  for (const py::handle& group : optimizer.attr("param_groups")) {
    std::vector<at::Tensor> tensors;
    for (const py::handle& parameter : group["params"]) {
      tensors.push_back(THPVariable_Unpack(parameter.ptr()));
    }
    groups.emplace_back(tensors, std::make_unique<PythonGroup>(hold(py::reinterpret_borrow<py::object>(group))));
  }
  return groups;
}

class PythonOptimizer : public torch::optim::Optimizer {
 public:
  explicit PythonOptimizer(const py::object& optimizer)
      : Optimizer(groups_of(optimizer), std::make_unique<PythonGroup>(hold(py::dict(py::arg("lr") = 0.0)))),
        optimizer_(hold(optimizer)) {
    // LibTorch has put copies of the defaults in their place.
    std::size_t i = 0;
    for (const py::handle& group : optimizer.attr("param_groups")) {
      param_groups().at(i++).set_options(
          std::make_unique<PythonGroup>(hold(py::reinterpret_borrow<py::object>(group))));
    }
  }

  torch::Tensor step(LossClosure /*closure*/) override {
    with_python([this] { optimizer_->attr("step")(); });
    return {};
  }

  void save(torch::serialize::OutputArchive& archive) const override {
    const std::string bytes = with_python([this] {
      const py::object file = py::module_::import("io").attr("BytesIO")();
      py::module_::import("torch").attr("save")(optimizer_->attr("state_dict")(), file);
      return file.attr("getvalue")().cast<std::string>();
    });
    at::Tensor tensor = at::empty({static_cast<std::int64_t>(bytes.size())}, at::kByte);
    std::memcpy(tensor.mutable_data_ptr(), bytes.data(), bytes.size());
    archive.write("state_dict", tensor);
  }

  void load(torch::serialize::InputArchive& archive) override {
    at::Tensor tensor;
    archive.read("state_dict", tensor);
    const std::string bytes(static_cast<const char*>(tensor.const_data_ptr()),
                            static_cast<std::size_t>(tensor.numel()));
    with_python([&] {
      const py::object file = py::module_::import("io").attr("BytesIO")(py::bytes(bytes));
      optimizer_->attr("load_state_dict")(py::module_::import("torch").attr("load")(file));
    });
  }

 private:
  Held optimizer_;
};

}  // namespace

std::unique_ptr<torch::optim::Optimizer> adapt_optimizer(const py::object& optimizer) {
  const CoreWork work;
  if (!py::hasattr(optimizer, "param_groups") || !py::hasattr(optimizer, "step")) {
    throw py::type_error("the optimizer is a " + py::repr(py::type::handle_of(optimizer)).cast<std::string>() +
                         ", allowed: a torch.optim.Optimizer");
  }
  return std::make_unique<PythonOptimizer>(optimizer);
}

}  // namespace gradwise::python
