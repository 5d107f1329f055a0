#include "python/bindings/room_for_hooks.h"

#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/python_variable.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/csrc/utils/pybind.h>

#include <memory>
#include <utility>

namespace gradwise::python {
namespace {

using Hook = torch::autograd::PostAccumulateGradHook;

// PyTorch's list of Python hooks, called only where it holds one: PyTorch takes the interpreter lock for an empty one.
class HooksToCome : public Hook {
 public:
  HooksToCome(std::unique_ptr<Hook> list, PyObject* held) : list_(std::move(list)), held_(held) {}

  void operator()(const torch::autograd::Variable& parameter) override {
    if (PyDict_GET_SIZE(held_) > 0) {  // one word, read without the lock: a hook that comes now may come too late
      (*list_)(parameter);
    }
  }

  // Compiled autograd asks; the list may outlive the native hook above it.
  void compiled_args(torch::dynamo::autograd::CompiledNodeArgs& args) const override { list_->compiled_args(args); }
  void apply_with_saved(torch::autograd::Variable& parameter,
                        torch::dynamo::autograd::SwapSavedVariables& saved) override {
    list_->apply_with_saved(parameter, saved);
  }

 private:
  std::unique_ptr<Hook> list_;
  PyObject* held_;  // by the list
};

}  // namespace

void keep_room_for_hooks(const NamedParameters& parameters) {
  const py::object make_list = py::module_::import("collections").attr("OrderedDict");
  for (const at::Tensor& tensor : parameters.tensors) {
    const auto parameter = py::reinterpret_steal<py::object>(THPVariable_Wrap(tensor));
    if (!tensor.is_leaf() || !tensor.is_floating_point() || !parameter.attr("_post_accumulate_grad_hooks").is_none()) {
      continue;
    }
    const py::object list = make_list();
    parameter.attr("_post_accumulate_grad_hooks") = list;
    std::unique_ptr<Hook>& place = torch::autograd::impl::post_acc_grad_hooks(tensor);
    place = std::make_unique<HooksToCome>(std::move(place), list.ptr());
  }
}

}  // namespace gradwise::python
