#include "python/bindings/models.h"

#include <ATen/ops/alias.h>

#include <string>
#include <utility>
#include <vector>

#include "gradwise/core/error.h"
#include "python/bindings/held.h"

namespace gradwise::python {
namespace {

std::string type_name(const py::handle& object) { return py::str(py::type::handle_of(object).attr("__name__")); }

at::Tensor tensor_of(const py::handle& object, const std::string& what) {
  if (!THPVariable_Check(object.ptr())) {
    throw py::type_error(what + " is a " + type_name(object) + ", allowed: torch.Tensor");
  }
  return THPVariable_Unpack(object.ptr());
}

NamedParameters named(const py::object& pairs) {
  NamedParameters found;
  for (const py::handle& pair : pairs) {
    const auto item = py::reinterpret_borrow<py::tuple>(pair);
    found.add(item[0].cast<std::string>(), tensor_of(item[1], "a parameter"));
  }
  return found;
}

std::function<void()> remember_modes(const Held& module) {
  const WithLock lock;
  auto modes = std::make_shared<std::vector<std::pair<Held, bool>>>();
  for (const py::handle& part : module->attr("modules")()) {
    modes->emplace_back(hold(py::reinterpret_borrow<py::object>(part)), part.attr("training").cast<bool>());
  }
  return [modes] {
    const WithLock relock;
    for (const auto& [part, training] : *modes) {
      part->attr("training") = training;  // not train(): a module may have changed what that does
    }
  };
}

// Batches of a Python iterable. An iterator that is its own iterable can be gone through once.
class PythonBatches : public BatchSource {
 public:
  explicit PythonBatches(const py::object& dataloader) : iterable_(hold(dataloader)) {
    const CoreWork work;
    if (!py::hasattr(dataloader, "__iter__") && !py::hasattr(dataloader, "__getitem__")) {
      throw py::type_error("the data loader is a " + type_name(dataloader) +
                           ", allowed: an iterable of (input, target)");
    }
    const Py_ssize_t length = PyObject_Length(dataloader.ptr());
    if (length >= 0) {
      length_ = length;
    } else {
      PyErr_Clear();  // a DataLoader over an IterableDataset has a __len__ that raises
    }
    once_ = PyIter_Check(dataloader.ptr()) != 0;
  }

  void start(std::int64_t /*epoch*/, std::int64_t position) override {
    const WithLock lock;
    const bool again = std::exchange(started_, true);
    if (once_ && again) {
      throw py::value_error(
          "the data loader is an iterator and has been gone through, allowed: an iterable that can be "
          "started again for each epoch, such as a list or a torch.utils.data.DataLoader");
    }
    with_python([&] { iterator_ = hold(py::iter(*iterable_)); });
    Batch passed_over;
    for (std::int64_t i = 0; i < position && next(passed_over); ++i) {
    }
  }

  bool next(Batch& batch) override {
    return with_python([&] {
      const auto item = py::reinterpret_steal<py::object>(PyIter_Next(iterator_->ptr()));
      if (item.ptr() == nullptr) {
        if (PyErr_Occurred() != nullptr) {
          throw py::error_already_set();
        }
        return false;
      }
      read(item, batch);
      return true;
    });
  }

  [[nodiscard]] std::int64_t batches_per_epoch() const override { return length_; }

 private:
  static void read(const py::object& item, Batch& batch) {
    if ((!py::isinstance<py::tuple>(item) && !py::isinstance<py::list>(item)) || py::len(item) != 2) {
      throw py::type_error("a batch is a " + type_name(item) + ", allowed: (input, target), or ((inputs...), target)");
    }
    const auto pair = py::reinterpret_borrow<py::sequence>(item);
    const py::object input = pair[0];
    batch.extra.clear();
    if (py::isinstance<py::tuple>(input) || py::isinstance<py::list>(input)) {
      const auto inputs = py::reinterpret_borrow<py::sequence>(input);
      if (inputs.empty()) {
        throw py::value_error("a batch has no input");
      }
      batch.input = tensor_of(inputs[0], "an input of a batch");
      for (std::size_t i = 1; i < inputs.size(); ++i) {
        batch.extra.push_back(tensor_of(inputs[i], "an input of a batch"));
      }
    } else {
      batch.input = tensor_of(input, "the input of a batch");
    }
    batch.target = tensor_of(pair[1], "the target of a batch");
  }

  Held iterable_;
  Held iterator_;
  std::int64_t length_ = -1;
  bool once_ = false;
  bool started_ = false;
};

constexpr const char* kOwnOutput = "_gradwise_own_output";  // attribute of the tensor that stands for an output

// The parts of a dict, a tuple, a list; at depth 0 the attributes of any other object; else None.
py::object parts_of(const py::object& output, int depth) {
  if (py::hasattr(output, "values") && py::hasattr(output, "keys")) {
    return output.attr("values")();
  }
  if (py::isinstance<py::tuple>(output) || py::isinstance<py::list>(output)) {
    return output;
  }
  return depth == 0 && py::hasattr(output, "__dict__") ? py::object(output.attr("__dict__").attr("values")())
                                                       : py::none();
}

// "logits", or the first tensor of floating point; undefined where there is none.
at::Tensor main_tensor(const py::object& output, int depth = 0) {
  if (THPVariable_Check(output.ptr())) {
    const at::Tensor& tensor = THPVariable_Unpack(output.ptr());
    return tensor.is_floating_point() ? tensor : at::Tensor();
  }
  if (py::object logits = py::getattr(output, "logits", py::none()); THPVariable_Check(logits.ptr())) {
    return main_tensor(logits, depth + 1);
  }
  constexpr int kDeepest = 4;  // a list may hold itself
  const py::object parts = parts_of(output, depth);
  if (!parts.is_none() && depth < kDeepest) {
    for (const py::handle& part : parts) {
      if (at::Tensor found = main_tensor(py::reinterpret_borrow<py::object>(part), depth + 1); found.defined()) {
        return found;
      }
    }
  }
  return {};
}

at::Tensor output_tensor(const py::object& output, Outputs allowed) {
  if (THPVariable_Check(output.ptr())) {
    return THPVariable_Unpack(output.ptr());
  }
  if (allowed == Outputs::tensors) {
    throw py::type_error("the model's output is a " + type_name(output) +
                         ", allowed: torch.Tensor; wrap the model in a torch.nn.Module whose forward gives the tensor, "
                         "as in `return self.model(x).logits`");
  }
  const at::Tensor found = main_tensor(output);
  if (!found.defined()) {
    throw py::type_error("the model's output is a " + type_name(output) +
                         ", allowed: torch.Tensor, or what holds one of floating point");
  }
  // An alias, which no part of the output refers to: output and attribute make no cycle.
  at::Tensor standing = at::alias(found);
  py::cast(standing).attr(kOwnOutput) = output;
  return standing;
}

}  // namespace

Model adapt_module(const py::object& object, Outputs outputs) {
  const CoreWork work;
  if (!py::hasattr(object, "named_parameters") || !py::hasattr(object, "modules")) {
    throw py::type_error("model is a " + type_name(object) + ", allowed: torch.nn.Module");
  }
  const Held module = hold(object);
  Model model;
  model.parameters = named(object.attr("named_parameters")());
  model.buffers = named(object.attr("named_buffers")());
  model.forward = [module, outputs](const Batch& batch) {
    return with_python([&] {
      py::tuple arguments(1 + batch.extra.size());
      arguments[0] = py::cast(batch.input);
      for (std::size_t i = 0; i < batch.extra.size(); ++i) {
        arguments[i + 1] = py::cast(batch.extra[i]);
      }
      return output_tensor((*module)(*arguments), outputs);
    });
  };
  model.forward_with = [module](const NamedParameters& parameters, const Batch& batch) {
    return with_python([&] {
      py::dict values;
      for (std::size_t i = 0; i < parameters.size(); ++i) {
        values[py::str(parameters.names[i])] = parameters.tensors[i];
      }
      const py::object call = py::module_::import("torch.func").attr("functional_call");
      return tensor_of(call(*module, values, py::make_tuple(batch.input)), "the model's output");
    });
  };
  model.set_training = [module](bool training) {
    const WithLock lock;
    module->attr("train")(training);
  };
  model.is_training = [module] {
    const WithLock lock;
    return module->attr("training").cast<bool>();
  };
  model.remember_modes = [module] { return remember_modes(module); };
  model.to = [module](at::Device device) {
    const WithLock lock;
    module->attr("to")(py::cast(device));
  };
  return model;
}

LossFunction adapt_loss(const py::object& loss_function) {
  if (PyCallable_Check(loss_function.ptr()) == 0) {
    throw py::type_error("loss_function is a " + type_name(loss_function) +
                         ", allowed: a callable of (output, target)");
  }
  return [held = hold(loss_function)](const at::Tensor& output, const at::Tensor& target) {
    return with_python([&] {
      const py::object given = py::cast(output);
      const py::object own = py::getattr(given, kOwnOutput, py::none());
      return tensor_of((*held)(own.is_none() ? given : own, py::cast(target)), "the loss");
    });
  };
}

std::unique_ptr<BatchSource> adapt_data(const py::object& dataloader) {
  return std::make_unique<PythonBatches>(dataloader);
}

}  // namespace gradwise::python
