#pragma once

#include <exception>

#include "gradwise/core/error.h"

namespace gradwise::detail {

/// What `first` gives, or `second` where that throws: LibTorch, or what a callback of another language raises. An
/// interruption goes on.
template <class First, class Second>
auto first_or_else(const First& first, const Second& second) {
  try {
    return first();
  } catch (const std::exception& error) {
    const auto* foreign = dynamic_cast<const ForeignException*>(&error);
    if (foreign != nullptr && foreign->is_interruption()) {
      throw;
    }
  }
  return second();
}

}  // namespace gradwise::detail
