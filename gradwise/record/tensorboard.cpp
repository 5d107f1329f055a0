#include "gradwise/record/tensorboard.h"

#include <unistd.h>

#include <array>
#include <cmath>
#include <protozero/pbf_writer.hpp>
#include <vector>

namespace gradwise {
namespace {

// Field numbers of tensorflow/core/util/event.proto and framework/summary.proto.
namespace field {
constexpr int kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5, kSessionLog = 7;
constexpr int kSummaryValue = 1, kTag = 1, kSimpleValue = 2, kHistogram = 5;
constexpr int kMin = 1, kMax = 2, kCount = 3, kSum = 4, kSumSquares = 5, kBucketLimit = 6, kBucket = 7;
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

// Bins from the most negative magnitude to the greatest positive one, with the zeros between the signs.
void TensorBoardSink::add_histogram(const Event& event, const std::string& tag, const ParameterReading& p,
                                    double elements, const MagnitudeHistogram& counts) {
  constexpr int kHalf = 32;
  std::vector<double> limits;
  std::vector<double> buckets;
  double binned = 0;
  for (int bin = kHalf - 1; bin >= 0; --bin) {
    limits.push_back(-std::ldexp(1.0, bin - 26));
    buckets.push_back(static_cast<double>(counts[static_cast<std::size_t>(bin)]));
    binned += buckets.back();
  }
  limits.push_back(std::ldexp(1.0, -27));
  buckets.push_back(0);
  for (int bin = 0; bin < kHalf; ++bin) {
    limits.push_back(std::ldexp(1.0, bin - 25));
    buckets.push_back(static_cast<double>(counts[static_cast<std::size_t>(kHalf + bin)]));
    binned += buckets.back();
  }
  buckets[kHalf] = p.grad_zeros * elements;
  const double finite = binned + buckets[kHalf];
  std::string record;
  {
    protozero::pbf_writer writer(record);
    writer.add_double(field::kWallTime, event.time);
    writer.add_int64(field::kStep, event.step);
    protozero::pbf_writer summary(writer, field::kSummary);
    protozero::pbf_writer entry(summary, field::kSummaryValue);
    entry.add_string(field::kTag, tag);
    protozero::pbf_writer histogram(entry, field::kHistogram);
    histogram.add_double(field::kMin, p.grad_min_value);
    histogram.add_double(field::kMax, p.grad_max_value);
    histogram.add_double(field::kCount, finite);
    histogram.add_double(field::kSum, p.grad_mean * finite);
    histogram.add_double(field::kSumSquares, p.grad_norm * p.grad_norm);
    histogram.add_packed_double(field::kBucketLimit, limits.begin(), limits.end());
    histogram.add_packed_double(field::kBucket, buckets.begin(), buckets.end());
  }
  add_record(record);
}

void TensorBoardSink::add(const Event& event, const WatchedStep& seen) {
  const StepReading& reading = *seen.reading;
  for (std::size_t i = 0; i < reading.parameters.size(); ++i) {
    const std::string& name = seen.facts->parameters[i].name;
    const ParameterReading& p = reading.parameters[i];
    add_scalar(event, "gradient_norm/" + name, p.grad_norm);
    add_scalar(event, "gradient_cosine/" + name, p.grad_cosine);
    add_scalar(event, "weight_norm/" + name, p.weight_norm);
    add_scalar(event, "update_ratio/" + name, p.update_ratio);
    if (!reading.histograms.empty() && !std::isnan(p.grad_norm)) {
      add_histogram(event, "gradient/" + name, p, seen.facts->parameters[i].elements(), reading.histograms[i]);
    }
  }
  for (const ActivationReading& a : reading.activations) {
    add_scalar(event, "dead_units/" + a.layer, a.dead);
    add_scalar(event, "saturated/" + a.layer, a.saturated);
  }
  add_scalar(event, "train/noise_scale", reading.noise_scale);
}

void TensorBoardSink::add(const Event& event, const StepInfo& info) {
  add_scalar(event, "train/loss", info.loss);
  add_scalar(event, "train/grad_norm", info.grad_norm);
  add_scalar(event, "train/lr", info.lr);
  add_scalar(event, "train/update_ratio", info.update_ratio);
  add_scalar(event, "train/param_norm", info.param_norm);
  add_scalar(event, "train/peak_bytes", info.peak_bytes);
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
