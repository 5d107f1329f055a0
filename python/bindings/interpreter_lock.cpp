#include "python/bindings/interpreter_lock.h"

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace gradwise::python {
namespace {

constexpr std::chrono::seconds kMostWait{5};

std::atomic<bool> exiting{false};
std::atomic<int> threads_at_work{0};
thread_local int depth = 0;              // of this thread's CoreWork
thread_local bool ends_program = false;  // whether this thread runs the interpreter's exit

void begin_exit() {
  ends_program = true;
  exiting = true;
  const int own = depth > 0 ? 1 : 0;
  const py::gil_scoped_release release;
  const auto last = std::chrono::steady_clock::now() + kMostWait;
  while (threads_at_work > own && std::chrono::steady_clock::now() < last) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

// A forked process has this thread alone.
void forget_other_threads() { threads_at_work = depth > 0 ? 1 : 0; }

}  // namespace

void prepare_for_exit() {
  pthread_atfork(nullptr, nullptr, &forget_other_threads);
  py::module_::import("atexit").attr("register")(py::cpp_function(&begin_exit));
}

// Counted before `exiting` is looked at: exit either sees this thread or is seen by it.
CoreWork::CoreWork() {
  if (depth++ == 0) {
    ++threads_at_work;
  }
  stop_at_exit();
}

CoreWork::~CoreWork() {
  if (--depth == 0) {
    --threads_at_work;
  }
}

void CoreWork::stop_at_exit() {
  if (!exiting || ends_program) {
    return;
  }
  if (Py_IsInitialized() != 0 && PyGILState_Check() != 0) {
    PyEval_SaveThread();
  }
  --threads_at_work;
  for (;;) {
    std::this_thread::sleep_for(std::chrono::hours(1));
  }
}

}  // namespace gradwise::python
