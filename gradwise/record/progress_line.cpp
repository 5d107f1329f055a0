#include "gradwise/record/progress_line.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

namespace gradwise {
namespace {

constexpr int kBarWidth = 20;
constexpr double kRedrawInterval = 0.1;  // seconds

std::size_t width_of(std::FILE* out) {
  winsize size{};
  return ::ioctl(::fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

std::string bar_of(double share) {
  if (std::isnan(share)) {
    return {};
  }
  const double done = std::clamp(share, 0.0, 1.0);
  const auto filled = static_cast<std::size_t>(done * kBarWidth);
  char percent[16];
  std::snprintf(percent, sizeof percent, "] %3.0f %%  ", 100 * done);
  return "[" + std::string(filled, '#') + std::string(kBarWidth - filled, '.') + percent;
}

}  // namespace

ProgressLine::ProgressLine(std::FILE* out, double plain_interval)
    : out_(out),
      is_terminal_(::isatty(::fileno(out)) == 1),
      interval_(is_terminal_ ? kRedrawInterval : plain_interval) {}

ProgressLine::~ProgressLine() {
  clear();
  std::fflush(out_);
}

void ProgressLine::clear() {
  if (drawn_) {
    std::fputs("\r\033[K", out_);
    drawn_ = false;
  }
}

void ProgressLine::show(const std::string& text, double share, double time) {
  if (is_terminal_) {
    clear();
    std::fputs((bar_of(share) + text).substr(0, width_of(out_) - 1).c_str(), out_);
    drawn_ = true;
  } else {
    std::fprintf(out_, "%s\n", text.c_str());
  }
  std::fflush(out_);
  shown_at_ = time;
}

}  // namespace gradwise
