#pragma once

#include <cstdint>
#include <memory>

namespace gradwise {

/// Counts, by the allocators' own reports, what a scope takes: bytes of tensors that were allocated since it began and
/// are not freed yet, on all devices together, and the most that there was at once. Backward passes that the scope
/// starts count too, in whatever thread they run. What was allocated before and is freed inside counts negative.
/// Scopes nest, each with its own count. LibTorch has one place for what hears the reports, that of its profilers: one
/// that is started inside and watches memory gets the reports instead, and one that runs around sees no operator of the
/// scope.
class PeakMemory {
 public:
  PeakMemory();
  ~PeakMemory();
  PeakMemory(const PeakMemory&) = delete;
  PeakMemory& operator=(const PeakMemory&) = delete;

  /// Whether one of LibTorch's profilers runs in this thread, which a scope would blind.
  [[nodiscard]] static bool profiler_runs();

  [[nodiscard]] std::int64_t peak() const;     ///< bytes
  [[nodiscard]] std::int64_t current() const;  ///< bytes
  /// Lets the peak begin anew at what there is now.
  void reset_peak();

 private:
  struct Counter;
  struct Scope;
  std::shared_ptr<Counter> counter_;
  std::unique_ptr<Scope> scope_;
};

}  // namespace gradwise
