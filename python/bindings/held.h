#pragma once

#include <torch/csrc/autograd/python_variable.h>
#include <torch/csrc/utils/pybind.h>

#include <memory>

#include "gradwise/core/error.h"
#include "python/bindings/interpreter_lock.h"

namespace gradwise::python {

/// A Python object that C++ may copy and drop in any thread, with or without the interpreter lock.
using Held = std::shared_ptr<py::object>;

[[nodiscard]] inline Held hold(py::object object) {
  return {new py::object(std::move(object)), [](py::object* held) {
            if (!Py_IsInitialized()) {
              held->release();  // the interpreter is gone, and everything in it
            } else {
              const WithLock lock;
              *held = py::object();
            }
            delete held;
          }};
}

/// Whether exceptions of this type end what is under way and are no failure of it: KeyboardInterrupt, SystemExit, all
/// that `except Exception` lets pass. Needs the interpreter lock.
[[nodiscard]] inline bool interrupts(const py::handle& type) {
  return PyErr_GivenExceptionMatches(type.ptr(), PyExc_Exception) == 0;
}

/// An exception that a callback has raised, on its way through C++.
struct PythonRaised : py::error_already_set, ForeignException {
  explicit PythonRaised(const py::error_already_set& error) : py::error_already_set(error) {}
  [[nodiscard]] bool is_interruption() const override {
    const WithLock lock;
    return interrupts(type());
  }
};

/// Calls `work` without the interpreter lock.
template <class Work>
auto without_lock(const Work& work) {
  const WithoutLock released;
  return work();
}

/// Calls `work` with the interpreter lock.
template <class Work>
auto with_python(const Work& work) {
  const WithLock lock;
  try {
    return work();
  } catch (const py::error_already_set& error) {
    throw PythonRaised{error};
  }
}

}  // namespace gradwise::python
