#pragma once

#include <torch/csrc/utils/pybind.h>

#include <cxxabi.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <utility>

namespace gradwise::python {

/// Arguments of a call, borrowed.
template <std::size_t count>
using Arguments = std::span<PyObject* const, count>;

/// A function for what each training step calls, of the interpreter's own kind: `count` positional arguments, no
/// conversions. A training step empties the caches, and pybind11's way to a function then takes some 2 µs more.
///
///   py::object hook(Clock& clock, Arguments<3> arguments);
///   py::object for_python = fast_function<3, &hook>(clock, "hook");
///
/// It holds its object; `name` is a literal, which the interpreter keeps. Exceptions cross as those of bound functions
/// do.
template <std::size_t count, auto call, class T>
[[nodiscard]] py::object fast_function(std::shared_ptr<T> object, const char* name) {
  using Held = std::shared_ptr<T>;
  const auto run = [](PyObject* held, PyObject* const* arguments, Py_ssize_t given) -> PyObject* {
    if (given != static_cast<Py_ssize_t>(count)) {
      PyErr_Format(PyExc_TypeError, "%zd arguments were given, allowed: %zu", given, count);
      return nullptr;
    }
    try {
      T& of = **static_cast<Held*>(PyCapsule_GetPointer(held, nullptr));
      return py::object(std::invoke(call, of, Arguments<count>(arguments, count))).release().ptr();
    } catch (abi::__forced_unwind&) {
      throw;
    } catch (...) {
      py::detail::try_translate_exceptions();
      return nullptr;
    }
  };
  PyObject* (*const function)(PyObject*, PyObject* const*, Py_ssize_t) = run;
  static PyMethodDef definition{name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function)),
                                METH_FASTCALL, nullptr};
  auto kept = std::make_unique<Held>(std::move(object));
  const py::capsule held(kept.get(), [](void* pointer) { delete static_cast<Held*>(pointer); });
  (void)kept.release();
  auto made = py::reinterpret_steal<py::object>(PyCFunction_New(&definition, held.ptr()));
  if (!made) {
    throw py::error_already_set();
  }
  return made;
}

}  // namespace gradwise::python
