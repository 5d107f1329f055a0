#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "gradwise/core/event.h"
#include "gradwise/record/append_file.h"

namespace gradwise {

/// CRC-32C (Castagnoli, RFC 3720 appendix B.4).
[[nodiscard]] std::uint32_t crc32c(std::string_view bytes);

/// A run's figures as a TensorBoard event file (TFRecord frames of tensorflow.Event): scalars `train/loss`,
/// `train/grad_norm`, `train/lr`, `train/samples_per_second`, `validation/loss`, `validation/<metric>`,
/// `gradient_norm/<parameter>`, `update_ratio/<parameter>`, `dead_units/<layer>`, ...; histograms of the gradients.
/// The file is made at the first event. A run that resumes tells TensorBoard to drop what came after its step.
class TensorBoardSink : public Sink {
 public:
  explicit TensorBoardSink(std::filesystem::path folder) : folder_(std::move(folder)) {}

  void write(std::span<const Event> events) override;
  void flush() override;

 private:
  void open(double time);
  void add(const Event& event, const StepInfo& info);
  void add(const Event& event, const EpochFinished& done);
  void add(const Event& event, const Validated& seen);
  void add(const Event& event, const RunStarted& started);
  void add(const Event& event, const WatchedStep& seen);
  // No figures for TensorBoard.
  void add(const Event& /*event*/, const CheckpointSaved& /*saved*/) {}
  void add(const Event& /*event*/, const Issue& /*issue*/) {}
  void add(const Event& /*event*/, const Message& /*message*/) {}
  void add(const Event& /*event*/, const Diagnosed& /*diagnosed*/) {}
  void add(const Event& /*event*/, const RunFinished& /*finished*/) {}
  void add_record(const std::string& record);
  void add_scalar(const Event& event, const std::string& tag, double value);
  void add_histogram(const Event& event, const std::string& tag, const ParameterReading& p, double elements,
                     const MagnitudeHistogram& counts);

  std::filesystem::path folder_;
  std::optional<AppendFile> file_;
  std::string buffer_;
};

}  // namespace gradwise
