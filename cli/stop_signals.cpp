#include "cli/stop_signals.h"

#include <unistd.h>

#include <atomic>
#include <csignal>

#include "gradwise/train/loop.h"

namespace gradwise {
namespace {

std::atomic<AutogradTrainingLoop*> g_loop{nullptr};
std::atomic<int> g_signal{0};

void on_signal(int signal) {
  if (g_signal.exchange(signal) != 0) {
    ::_exit(128 + signal);
  }
  if (AutogradTrainingLoop* loop = g_loop.load()) {
    loop->request_stop();
  }
}

void install(void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

}  // namespace

StopSignals::StopSignals(AutogradTrainingLoop& loop) {
  g_loop = &loop;
  install(on_signal);
}

StopSignals::~StopSignals() {
  install(SIG_DFL);
  g_loop = nullptr;
}

int StopSignals::received() { return g_signal; }

}  // namespace gradwise
