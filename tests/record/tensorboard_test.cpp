#include "gradwise/record/tensorboard.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/data/temporary_folder.h"
#include "tests/record/synthetic_run.h"

namespace gradwise {
namespace {

struct KnownSum {
  const char* what;
  std::string bytes;
  std::uint32_t sum;
};

// The check value of the CRC catalogue and the examples of RFC 3720, appendix B.4.
TEST(Crc32c, KnownAnswers) {
  const std::vector<KnownSum> cases = {{"nothing", "", 0},
                                       {"digits", "123456789", 0xE3069283U},
                                       {"zeros", std::string(32, '\0'), 0x8A9136AAU},
                                       {"ones", std::string(32, '\xff'), 0x62A8AB43U}};
  for (const KnownSum& known : cases) {
    EXPECT_EQ(crc32c(known.bytes), known.sum) << known.what;
  }
}

template <class Integer>
Integer integer_at(const std::string& bytes, std::size_t place) {
  Integer value = 0;
  std::memcpy(&value, bytes.data() + place, sizeof(value));
  return value;
}

std::uint32_t unmasked(std::uint32_t masked) {
  const std::uint32_t rotated = masked - 0xA282EAD8U;
  return (rotated >> 17U) | (rotated << 15U);
}

// The records of a TFRecord file; a test failure where a frame is wrong.
std::vector<std::string> records_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(file), {});
  std::vector<std::string> records;
  std::size_t place = 0;
  while (place + 16 <= bytes.size()) {
    const auto length = integer_at<std::uint64_t>(bytes, place);
    EXPECT_EQ(unmasked(integer_at<std::uint32_t>(bytes, place + 8)), crc32c(bytes.substr(place, 8)));
    if (length > bytes.size() - place - 16) {
      break;
    }
    const std::string& record = records.emplace_back(bytes.substr(place + 12, length));
    EXPECT_EQ(unmasked(integer_at<std::uint32_t>(bytes, place + 12 + length)), crc32c(record));
    place += 16 + length;
  }
  EXPECT_EQ(place, bytes.size()) << "the last frame is cut off";
  return records;
}

std::vector<std::filesystem::path> event_files(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().filename().string().starts_with("events.out.tfevents.1700000000.")) {
      files.push_back(entry.path());
    }
  }
  return files;
}

TEST(TensorBoard, FramesAreWholeAndBeginWithTheVersion) {
  const TemporaryFolder folder;
  TensorBoardSink sink(folder / ".");
  const std::vector<Event> events = synthetic_run();
  sink.write(std::span(events).first(4));
  sink.write(std::span(events).subspan(4));
  sink.flush();
  ASSERT_EQ(event_files(folder / ".").size(), 1U);
  const std::vector<std::string> records = records_of(event_files(folder / ".").front());
  // The version; seven figures a step, less the two that were not measured in one; three for each validation, two for
  // each epoch.
  ASSERT_EQ(records.size(), 1U + 7 * 10 - 2 + 3 * 3 + 2 * 2);
  EXPECT_NE(records[0].find("brain.Event:2"), std::string::npos);
  EXPECT_NE(records[1].find("train/loss"), std::string::npos);
}

TEST(TensorBoard, MakesNoFileWithoutAnEvent) {
  const TemporaryFolder folder;
  TensorBoardSink sink(folder / ".");
  sink.write({});
  sink.flush();
  EXPECT_TRUE(event_files(folder / ".").empty());
}

}  // namespace
}  // namespace gradwise
