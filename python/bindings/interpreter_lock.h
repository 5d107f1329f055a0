#pragma once

#include <torch/csrc/utils/pybind.h>

/// The interpreter lock for threads that the interpreter does not wait for at exit: daemon threads. Python, up to 3.13,
/// ends one that asks for the lock by unwinding its stack, and C++ that holds Python objects does not survive that. So
/// the bindings use these in place of pybind11's guards: at exit, a thread waits for ever where it would ask for the
/// lock, and exit waits, for some seconds at most, until every thread does or has left the core.
namespace gradwise::python {

/// Has the interpreter begin its exit with this; to be called once, as the extension is loaded.
void prepare_for_exit();

/// A thread's time in the core, or in Python code that the core has called.
class CoreWork {
 public:
  CoreWork();
  ~CoreWork();
  CoreWork(const CoreWork&) = delete;
  CoreWork& operator=(const CoreWork&) = delete;

  /// Does not return where another thread ends the interpreter.
  static void stop_at_exit();
};

/// Holds the interpreter lock.
class WithLock {
 private:
  CoreWork work_;
  pybind11::gil_scoped_acquire lock_;
};

/// Lets go of the interpreter lock.
class WithoutLock {
 public:
  WithoutLock() : thread_(PyEval_SaveThread()) {}
  ~WithoutLock() {
    CoreWork::stop_at_exit();
    PyEval_RestoreThread(thread_);
  }
  WithoutLock(const WithoutLock&) = delete;
  WithoutLock& operator=(const WithoutLock&) = delete;

 private:
  CoreWork work_;
  PyThreadState* thread_;
};

}  // namespace gradwise::python
