#include "gradwise/core/event.h"

#include <chrono>

namespace gradwise {

Event make_event(std::int64_t step, Payload payload) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return {std::chrono::duration<double>(now).count(), step, std::move(payload)};
}

}  // namespace gradwise
