#include "gradwise/record/tensorboard.h"

#include <unistd.h>

#include <array>
#include <cmath>
#include <protozero/pbf_writer.hpp>

namespace gradwise {
namespace {

// Field numbers of tensorflow/core/util/event.proto and framework/summary.proto.
namespace field {
constexpr int kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5, kSessionLog = 7;
constexpr int kSummaryValue = 1, kTag = 1, kSimpleValue = 2;
constexpr int kStatus = 1, kStatusStart = 1;
}  // namespace field

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc & 1U) != 0 ? (crc >> 1U) ^ 0x82F63B78U : crc >> 1U;
    }
    table[i] = crc;
  }
  return table;
}

// The masked checksum of a TFRecord frame.
std::uint32_t masked_crc(std::string_view bytes) {
  const std::uint32_t crc = crc32c(bytes);
  return ((crc >> 15U) | (crc << 17U)) + 0xA282EAD8U;
}

template <class Integer>
void append_little_endian(std::string& to, Integer value) {
  for (std::size_t i = 0; i < sizeof(value); ++i) {
    to += static_cast<char>((value >> (8 * i)) & 0xFFU);
  }
}

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  static constexpr std::array<std::uint32_t, 256> kTable = make_crc_table();
  std::uint32_t crc = 0xFFFFFFFFU;
  for (const char byte : bytes) {
    crc = kTable[(crc ^ static_cast<unsigned char>(byte)) & 0xFFU] ^ (crc >> 8U);
  }
  return crc ^ 0xFFFFFFFFU;
}

void TensorBoardSink::open(double time) {
  file_.emplace(folder_ / ("events.out.tfevents." + std::to_string(static_cast<std::int64_t>(time)) + "." +
                           host_name() + "." + std::to_string(::getpid())));
  std::string record;
  protozero::pbf_writer event(record);
  event.add_double(field::kWallTime, time);
  event.add_string(field::kFileVersion, "brain.Event:2");
  add_record(record);
}

void TensorBoardSink::add_record(const std::string& record) {
  std::string length;
  append_little_endian(length, static_cast<std::uint64_t>(record.size()));
  buffer_ += length;
  append_little_endian(buffer_, masked_crc(length));
  buffer_ += record;
  append_little_endian(buffer_, masked_crc(record));
}

void TensorBoardSink::add_scalar(const Event& event, const std::string& tag, double value) {
  if (std::isnan(value)) {
    return;
  }
  std::string record;
  {
    protozero::pbf_writer writer(record);
    writer.add_double(field::kWallTime, event.time);
    writer.add_int64(field::kStep, event.step);
    protozero::pbf_writer summary(writer, field::kSummary);
    protozero::pbf_writer entry(summary, field::kSummaryValue);
    entry.add_string(field::kTag, tag);
    entry.add_float(field::kSimpleValue, static_cast<float>(value));
  }
  add_record(record);
}

void TensorBoardSink::add(const Event& event, const StepInfo& info) {
  add_scalar(event, "train/loss", info.loss);
  add_scalar(event, "train/grad_norm", info.grad_norm);
  add_scalar(event, "train/lr", info.lr);
  add_scalar(event, "train/update_ratio", info.update_ratio);
  add_scalar(event, "train/param_norm", info.param_norm);
  if (info.seconds.total > 0) {
    add_scalar(event, "train/samples_per_second", static_cast<double>(info.samples) / info.seconds.total);
  }
}

void TensorBoardSink::add(const Event& event, const Validated& seen) {
  add_scalar(event, seen.data + "/loss", seen.loss);
  for (const auto& [name, value] : seen.metrics) {
    add_scalar(event, seen.data + "/" + name, value);
  }
}

void TensorBoardSink::add(const Event& event, const EpochFinished& done) {
  add_scalar(event, "epoch/mean_loss", done.mean_loss);
  add_scalar(event, "epoch/samples_per_second", done.samples_per_second);
}

void TensorBoardSink::add(const Event& event, const RunStarted& started) {
  if (started.resumed_at < 0) {
    return;
  }
  std::string record;
  {
    protozero::pbf_writer writer(record);
    writer.add_double(field::kWallTime, event.time);
    writer.add_int64(field::kStep, started.resumed_at + 1);  // drops this step and later ones
    protozero::pbf_writer session(writer, field::kSessionLog);
    session.add_enum(field::kStatus, field::kStatusStart);
  }
  add_record(record);
}

void TensorBoardSink::write(std::span<const Event> events) {
  buffer_.clear();
  for (const Event& event : events) {
    if (!file_) {
      open(event.time);
    }
    std::visit([this, &event](const auto& payload) { add(event, payload); }, event.payload);
  }
  if (file_) {
    file_->write(buffer_);
  }
}

void TensorBoardSink::flush() {
  if (file_) {
    file_->sync();
  }
}

}  // namespace gradwise
