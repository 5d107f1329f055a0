#include "gradwise/autograd/checkpoint/checkpoint.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gradwise/autograd/checkpoint/plan_checkpoints.h"
#include "gradwise/autograd/memory/saved_tensor_hooks.h"
#include "python/bindings/docstrings.h"
#include "python/bindings/functions.h"
#include "python/bindings/groups.h"
#include "python/bindings/held.h"

namespace gradwise::python {
namespace {

using namespace py::literals;

// detail::RecomputationDone on its way through Python. No Exception, so that `except Exception` lets it pass.
PyObject* recomputation_done() {
  static PyObject* const type = PyErr_NewException("gradwise._core.RecomputationDone", PyExc_BaseException, nullptr);
  return type;
}

void translate_done(std::exception_ptr thrown) {
  try {
    std::rethrow_exception(std::move(thrown));
  } catch (const detail::RecomputationDone&) {
    PyErr_SetNone(recomputation_done());
  }
}

TensorFunction adapt_recomputed(const py::object& function) {
  return [adapted = adapt_function(function)](const Tensors& inputs) {
    try {
      return adapted(inputs);
    } catch (const PythonRaised& raised) {
      const WithLock lock;
      if (raised.matches(recomputation_done())) {
        throw detail::RecomputationDone();
      }
      throw;
    }
  };
}

// What a saved tensor's pack hook has given back.
at::Tensor unpack(const py::capsule& kept) {
  const UnpackSaved& get = *kept.get_pointer<UnpackSaved>();
  const WithoutLock released;  // it may run a whole function, and wait for another thread that does
  return get();
}

// torch's stack of hooks is Python's alone, as its engine is, which asks for them.
py::object torch_hooks(const char* function) {
  return py::module_::import("torch").attr("_C").attr("_autograd").attr(function);
}

void push_hooks(const PackSaved& pack) {
  with_python([&] {
    const py::cpp_function pack_hook([pack](const at::Tensor& tensor) {
      return py::capsule(new UnpackSaved(pack(tensor)), [](void* kept) { delete static_cast<UnpackSaved*>(kept); });
    });
    torch_hooks("_push_saved_tensors_default_hooks")(pack_hook, py::cpp_function(&unpack));
  });
}

void pop_hooks() {
  with_python([] { torch_hooks("_pop_saved_tensors_default_hooks")(); });
}

Tensors run_checkpointed(const py::object& function, const Tensors& inputs, const RecomputeOptions& options) {
  TensorFunction adapted = adapt_recomputed(function);
  const WithoutLock released;
  return checkpoint(std::move(adapted), inputs, options);
}

std::vector<StageFunction> stages_of(const py::list& functions) {
  std::vector<StageFunction> stages;
  for (const py::handle& function : functions) {
    stages.emplace_back(
        [adapted = adapt_recomputed(py::reinterpret_borrow<py::object>(function))](const at::Tensor& x) {
          const Tensors found = adapted({x});
          GRADWISE_CHECK(found.size() == 1, "checkpoint", "a stage gave ", found.size(), " tensors, allowed: one");
          return found.front();
        });
  }
  return stages;
}

at::Tensor run_segments(const py::list& functions, std::int64_t segments, const at::Tensor& input,
                        const RecomputeOptions& options) {
  const std::vector<StageFunction> stages = stages_of(functions);
  return without_lock([&] { return checkpoint_sequential(stages, segments, input, options); });
}

// A plan beside the stages that it is for.
struct PlannedStages {
  std::vector<StageFunction> stages;
  CheckpointPlan plan;
};

PlannedStages planned(const py::list& functions, const at::Tensor& input, std::int64_t memory_budget,
                      std::int64_t slots, std::int64_t repeats, NamedParameters buffers) {
  PlannedStages made{stages_of(functions), {}};
  const PlanOptions options{.slots = slots, .repeats = repeats, .buffers = std::move(buffers)};
  made.plan = without_lock([&] { return plan_checkpoints(made.stages, input, memory_budget, options); });
  return made;
}

py::list schedule_of(const ChainSchedule* part) {
  py::list parts;
  for (const ChainSchedule* now = part; now != nullptr; now = now->rest.get()) {
    const bool kept = now->middle == now->first;
    parts.append(py::dict("first"_a = now->first, "stop"_a = kept ? now->first + 1 : now->middle,
                          "again"_a = kept ? py::list() : schedule_of(now->again.get())));
  }
  return parts;
}

py::list measured_stages(const CheckpointPlan& plan) {
  py::list stages;
  for (const ChainStage& stage : plan.stages) {
    stages.append(py::dict("forward_seconds"_a = stage.forward_seconds, "backward_seconds"_a = stage.backward_seconds,
                           "output_bytes"_a = stage.output_bytes, "saved_bytes"_a = stage.saved_bytes,
                           "forward_extra"_a = stage.forward_extra, "backward_extra"_a = stage.backward_extra));
  }
  return stages;
}

// A store of saved tensors, in use from enter to exit.
class SavedTensors {
 public:
  SavedTensors(std::string where, std::optional<std::string> folder, std::int64_t smallest)
      : where_(std::move(where)), folder_(std::move(folder)), options_{.smallest = smallest} {
    GRADWISE_CHECK(where_ == "host" || where_ == "disk" || where_ == "bfloat16" || where_ == "lossless", kPlace,
                   "where is \"", where_, "\", allowed: host, disk, bfloat16, lossless");
    GRADWISE_CHECK(folder_.has_value() == (where_ == "disk"), kPlace, "where is \"", where_, "\", allowed ",
                   folder_ ? "with a folder: disk" : "without a folder: host, bfloat16, lossless");
  }
  void enter() { hooks_ = store(); }
  void exit() { hooks_.reset(); }

 private:
  static constexpr const char* kPlace = "saved_tensors";

  [[nodiscard]] std::unique_ptr<SavedTensorHooks> store() const {
    if (where_ == "disk") {
      return saved_tensors_on_disk(*folder_, options_);
    }
    const auto make = where_ == "host"       ? saved_tensors_on_host
                      : where_ == "bfloat16" ? saved_tensors_in_bfloat16
                                             : saved_tensors_compressed;
    return make(options_);
  }

  std::string where_;
  std::optional<std::string> folder_;
  SavedTensorOptions options_;
  std::unique_ptr<SavedTensorHooks> hooks_;
};

}  // namespace

void bind_checkpoint(py::module_& module) {
  py::register_exception_translator(&translate_done);
  detail::use_saved_tensor_stack({.push = &push_hooks, .pop = &pop_hooks});
  py::class_<RecomputeOptions>(module, "RecomputeOptions", doc::RecomputeOptions)
      .def(py::init([](bool reentrant, bool preserve_random_state, bool early_stop, bool determinism_check) {
        return RecomputeOptions{.reentrant = reentrant,
                                .preserve_random_state = preserve_random_state,
                                .early_stop = early_stop,
                                .determinism_check = determinism_check};
      }));
  module.def("checkpoint", &run_checkpointed, doc::checkpoint);
  module.def("checkpoint_sequential", &run_segments, doc::checkpoint_sequential);
  py::class_<PlannedStages>(module, "PlannedStages")
      .def("run",
           [](const PlannedStages& self, const at::Tensor& input, const RecomputeOptions& options) {
             return without_lock([&] { return checkpoint_planned(self.stages, self.plan, input, options); });
           })
      .def("schedule", [](const PlannedStages& self) { return schedule_of(self.plan.chain.schedule.get()); })
      .def("stages", [](const PlannedStages& self) { return measured_stages(self.plan); })
      .def("seconds", [](const PlannedStages& self) { return self.plan.chain.seconds; })
      .def("least_seconds", [](const PlannedStages& self) { return self.plan.chain.least_seconds; })
      .def("peak_bytes", [](const PlannedStages& self) { return self.plan.chain.peak_bytes; });
  module.def(
      "plan_checkpoints",
      [](const py::list& stages, const at::Tensor& input, std::int64_t memory_budget, std::int64_t slots,
         std::int64_t repeats, const std::vector<std::string>& buffer_names, const std::vector<at::Tensor>& buffers) {
        return planned(stages, input, memory_budget, slots, repeats, {buffer_names, buffers});
      },
      doc::plan_checkpoints);
  py::class_<SavedTensors>(module, "SavedTensors")
      .def(py::init<std::string, std::optional<std::string>, std::int64_t>())
      .def("__enter__", &SavedTensors::enter)
      .def("__exit__", [](SavedTensors& self, const py::args&) { self.exit(); });
}

}  // namespace gradwise::python
