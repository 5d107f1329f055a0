#pragma once

#include <exception>

namespace gradwise::detail {

/// Forgets what the interpreter of another language keeps of an exception that is being handled: LibTorch's engine
/// leaves Python's error set, with which the next call into Python would fail. True, and nothing forgotten, for an
/// interruption.
using ForgetError = bool (*)();
void set_forget_error(ForgetError forget);

/// Of an exception that is being handled; one that isn't is forgotten.
[[nodiscard]] bool is_interruption(const std::exception& error);

/// What `first` gives, or `second` where that throws: LibTorch, or what a callback of another language raises. An
/// interruption goes on.
template <class First, class Second>
auto first_or_else(const First& first, const Second& second) {
  try {
    return first();
  } catch (const std::exception& error) {
    if (is_interruption(error)) {
      throw;
    }
  }
  return second();
}

}  // namespace gradwise::detail
