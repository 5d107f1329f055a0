#include "gradwise/autograd/transforms/fallback.h"

#include <atomic>

#include "gradwise/core/error.h"

namespace gradwise::detail {
namespace {

std::atomic<ForgetError> forget_error{nullptr};

}  // namespace

void set_forget_error(ForgetError forget) { forget_error = forget; }

bool is_interruption(const std::exception& error) {
  const auto* foreign = dynamic_cast<const ForeignException*>(&error);
  const ForgetError forget = forget_error;
  return (foreign != nullptr && foreign->is_interruption()) || (forget != nullptr && forget());
}

}  // namespace gradwise::detail
