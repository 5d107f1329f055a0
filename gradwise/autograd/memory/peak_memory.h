#pragma once

#include <cstdint>
#include <memory>

namespace gradwise {

/// Counts, by the allocators' own reports, what a scope takes: bytes of tensors that were allocated since it began and
/// are not freed yet, on all devices together, and the most that there was at once. Backward passes that the scope
/// starts count too, in whatever thread they run. What was allocated before and is freed inside counts negative.
/// Scopes nest, each with its own count. While one of LibTorch's own profilers that watches memory is started inside,
/// it gets the reports instead.
class PeakMemory {
 public:
  PeakMemory();
  ~PeakMemory();
  PeakMemory(const PeakMemory&) = delete;
  PeakMemory& operator=(const PeakMemory&) = delete;

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
