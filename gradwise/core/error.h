#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace gradwise {

/// What an error asks of its reader: mend the call or the configuration, or look at the world outside.
enum class ErrorKind {
  usage,   ///< the caller's mistake: a wrong option, shape or name; the command line exits 2
  failure  ///< the work failed: a file, a device, a computation; the command line exits 1
};

/// The one exception type of Gradwise. Its message reads `[place] facts`, as in
/// `[ema] decay is 1.5, allowed: between 0 and 1`.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  [[nodiscard]] ErrorKind kind() const noexcept { return kind_; }

 private:
  ErrorKind kind_;
};

/// Marks what another language's code has raised, on its way through the core: nobody rewords it.
class ForeignException {
 public:
  /// Whether it is to end the work rather than to tell of a mistake, as Ctrl-C is: nobody tries another way.
  [[nodiscard]] virtual bool is_interruption() const { return false; }

 protected:
  ForeignException() = default;
  ForeignException(const ForeignException&) = default;
  ForeignException& operator=(const ForeignException&) = default;
  virtual ~ForeignException() = default;
};

namespace detail {

template <class... Parts>
[[nodiscard]] Error make_error(ErrorKind kind, const char* place, const Parts&... parts) {
  std::ostringstream text;
  text.precision(10);
  text << '[' << place << "] ";
  (text << ... << parts);
  return Error(kind, text.str());
}

}  // namespace detail

/// Throws an Error of kind failure: `fail("csv", path, " has no rows")`.
template <class... Parts>
[[noreturn]] void fail(const char* place, const Parts&... parts) {
  throw detail::make_error(ErrorKind::failure, place, parts...);
}

/// Throws an Error of kind usage.
template <class... Parts>
[[noreturn]] void fail_usage(const char* place, const Parts&... parts) {
  throw detail::make_error(ErrorKind::usage, place, parts...);
}

}  // namespace gradwise

/// Checks what a user hands in: `GRADWISE_CHECK(n > 0, "loader", "batch_size is ", n, ", allowed: > 0")`.
/// The message is built only when the condition fails.
#define GRADWISE_CHECK(condition, place, ...)     \
  do {                                            \
    if (!(condition)) [[unlikely]] {              \
      ::gradwise::fail_usage(place, __VA_ARGS__); \
    }                                             \
  } while (false)
