#pragma once

#include <cmath>
#include <cstdio>

/// What an example shows: each line is printed with the figure that it is compared with; `exit_code` is 1 where one of
/// them does not hold.
class Proof {
 public:
  explicit Proof(const char* title) { std::printf("%s\n", title); }

  /// |found - expected| <= tolerance.
  void equal(const char* what, double found, double expected, double tolerance) {
    record(std::abs(found - expected) <= tolerance);
    std::printf("%s: %.8g, expected %.8g within %.1g\n", what, found, expected, tolerance);
  }
  void below(const char* what, double found, double bound) {
    record(found < bound);
    std::printf("%s: %.6g, expected below %.6g\n", what, found, bound);
  }
  void above(const char* what, double found, double bound) {
    record(found > bound);
    std::printf("%s: %.6g, expected above %.6g\n", what, found, bound);
  }
  void holds(const char* what, bool truth) {
    record(truth);
    std::printf("%s\n", what);
  }

  [[nodiscard]] int exit_code() const { return failed_ ? 1 : 0; }

 private:
  void record(bool holds) {
    failed_ = failed_ || !holds;
    std::printf("  %s  ", holds ? "holds" : "FAILS");
  }

  bool failed_ = false;
};
