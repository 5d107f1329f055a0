#include "python/bindings/python_optimizer.h"

#include <ATen/ops/empty.h>
#include <torch/optim/optimizer.h>
#include <torch/serialize/input-archive.h>
#include <torch/serialize/output-archive.h>

#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gradwise/optim/closure_driven.h"
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
    with_python([this] { optimizer().attr("step")(); });
    return {};
  }

  void save(torch::serialize::OutputArchive& archive) const override {
    const std::string bytes = with_python([this] {
      const py::object file = py::module_::import("io").attr("BytesIO")();
      py::module_::import("torch").attr("save")(optimizer().attr("state_dict")(), file);
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
      optimizer().attr("load_state_dict")(py::module_::import("torch").attr("load")(file));
    });
  }

 protected:
  [[nodiscard]] const py::object& optimizer() const { return *optimizer_; }

 private:
  Held optimizer_;
};

// A step's evaluations of the loss, for Python to call.
struct Evaluations {
  torch::optim::Optimizer::LossClosure closure;  // none after the step, however long Python keeps what calls it
  std::exception_ptr thrown;                     // by the core
};

at::Tensor evaluate(Evaluations& self) {
  if (!self.closure) {
    throw py::value_error("the closure was called after its step, allowed: within it");
  }
  try {
    return without_lock(self.closure);
  } catch (const PythonRaised&) {
    throw;
  } catch (...) {
    self.thrown = std::current_exception();
    throw;
  }
}

// One whose step has to be given a closure, as that of LBFGS.
class PythonClosureOptimizer : public PythonOptimizer, public ClosureDriven {
 public:
  using PythonOptimizer::PythonOptimizer;

  torch::Tensor step(LossClosure closure) override {
    const auto evaluations = std::make_shared<Evaluations>(Evaluations{std::move(closure), nullptr});
    try {
      with_python(
          [&] { optimizer().attr("step")(py::cpp_function([evaluations] { return evaluate(*evaluations); })); });
    } catch (const PythonRaised&) {
      evaluations->closure = nullptr;
      if (evaluations->thrown) {
        std::rethrow_exception(evaluations->thrown);  // as the core knows it
      }
      throw;
    }
    evaluations->closure = nullptr;
    return {};
  }

  void forget_evaluations() override {
    with_python([this] { optimizer().attr("state").attr("clear")(); });
  }
};

bool takes_closure(const py::object& optimizer) {
  const auto inspect = py::module_::import("inspect");
  const py::object parameters = inspect.attr("signature")(optimizer.attr("step")).attr("parameters");
  return parameters.contains("closure") &&
         parameters["closure"].attr("default").is(inspect.attr("Parameter").attr("empty"));
}

}  // namespace

std::unique_ptr<torch::optim::Optimizer> adapt_optimizer(const py::object& optimizer) {
  const CoreWork work;
  if (!py::hasattr(optimizer, "param_groups") || !py::hasattr(optimizer, "step")) {
    throw py::type_error("the optimizer is a " + py::repr(py::type::handle_of(optimizer)).cast<std::string>() +
                         ", allowed: a torch.optim.Optimizer");
  }
  if (takes_closure(optimizer)) {
    return std::make_unique<PythonClosureOptimizer>(optimizer);
  }
  return std::make_unique<PythonOptimizer>(optimizer);
}

}  // namespace gradwise::python
