#pragma once

#include <string>

#include "gradwise/core/error.h"

namespace gradwise {

/// The message of the Error that `action` throws, or "no error".
template <class Action>
std::string error_of(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace gradwise

/// Expects an Error whose message holds `part`.
#define EXPECT_ERROR_WITH(part, ...)                                                \
  do {                                                                              \
    const std::string message = ::gradwise::error_of([&] { (void)(__VA_ARGS__); }); \
    EXPECT_NE(message.find(part), std::string::npos) << message;                    \
  } while (false)
