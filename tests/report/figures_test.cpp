#include "gradwise/report/figures.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "gradwise/record/run_store.h"
#include "tests/data/error_of.h"
#include "tests/data/temporary_folder.h"
#include "tests/record/synthetic_run.h"

namespace gradwise {
namespace {

RunReader run_with(const TemporaryFolder& folder, const std::vector<Event>& events) {
  {
    RunStoreSink sink(folder / "run.sqlite");
    sink.write(events);
  }
  return RunReader(folder / ".");
}

std::vector<Event> run_of(std::int64_t steps, bool with_norms) {
  std::vector<Event> events{event_after(0, 0, synthetic_start())};
  for (std::int64_t step = 1; step <= steps; ++step) {
    StepInfo info = synthetic_step(step);
    info.grad_norm = with_norms ? info.grad_norm : kNotMeasured;
    events.push_back(event_after(static_cast<double>(step), step, info));
  }
  return events;
}

std::vector<Event> run_named(const std::string& name) {
  std::vector<Event> events = run_of(10, true);
  std::get<RunStarted>(events.front().payload).name = name;
  return events;
}

// Programs are looked for in an empty folder, for the time of a scope.
class NoPrograms {
 public:
  explicit NoPrograms(const std::filesystem::path& empty) {
    if (const char* path = std::getenv("PATH")) {
      before_ = path;
    }
    ::setenv("PATH", empty.c_str(), 1);
  }
  ~NoPrograms() {
    if (before_) {
      ::setenv("PATH", before_->c_str(), 1);
    } else {
      ::unsetenv("PATH");
    }
  }
  NoPrograms(const NoPrograms&) = delete;
  NoPrograms& operator=(const NoPrograms&) = delete;

 private:
  std::optional<std::string> before_;
};

std::string content_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::size_t files_in(const std::filesystem::path& folder) {
  const std::filesystem::directory_iterator entries(folder);
  return static_cast<std::size_t>(std::distance(begin(entries), end(entries)));
}

struct DrawnCase {
  std::string what;
  std::vector<Event> events;
  std::string file;
  std::string begins_with;
};

TEST(Curves, DrawsEveryKindOfRunAndFile) {
  const std::string png = "\x89PNG\r\n";
  const std::vector<DrawnCase> cases = {{"whole run", synthetic_run(), "a.png", png},
                                        {"as SVG", synthetic_run(), "a.svg", "<?xml"},
                                        {"as PDF", synthetic_run(), "a.pdf", "%PDF"},
                                        {"long run", run_of(4500, true), "a.png", png},
                                        {"one step", run_of(1, true), "a.png", png},
                                        {"no gradient norms", run_of(20, false), "a.png", png},
                                        {"quotes in the name", run_named("it's \"so\""), "a.png", png}};
  for (const DrawnCase& drawn : cases) {
    const TemporaryFolder folder;
    const RunReader run = run_with(folder, drawn.events);
    std::filesystem::create_directory(folder / "out");
    const PlotStatus status = plot_training(run, folder / ("out/" + drawn.file));
    if (status.reason == "the program gnuplot is not installed") {
      GTEST_SKIP() << status.reason;
    }
    EXPECT_TRUE(status.drawn) << drawn.what << ": " << status.reason;
    EXPECT_TRUE(content_of(folder / ("out/" + drawn.file)).starts_with(drawn.begins_with)) << drawn.what;
    EXPECT_EQ(files_in(folder / "out"), 1U) << drawn.what << ": nothing else is left there";
  }
}

TEST(Curves, PictureIs1200PixelsWide) {
  const TemporaryFolder folder;
  const PlotStatus status = plot_training(run_with(folder, synthetic_run()), folder / "a.png");
  if (!status.drawn) {
    GTEST_SKIP() << status.reason;
  }
  const std::string png = content_of(folder / "a.png");
  EXPECT_EQ(png.substr(16, 4), std::string("\0\0\x04\xb0", 4));  // big-endian width in the header chunk
}

TEST(Curves, AMissingProgramIsSaid) {
  const TemporaryFolder folder;
  const RunReader run = run_with(folder, synthetic_run());
  std::filesystem::create_directory(folder / "out");
  const NoPrograms guard(folder / "out");
  const PlotStatus status = plot_training(run, folder / "out/a.png");
  EXPECT_FALSE(status.drawn);
  EXPECT_EQ(status.reason, "the program gnuplot is not installed");
  EXPECT_EQ(files_in(folder / "out"), 0U);
}

TEST(Curves, ARunWithoutStepsIsSaid) {
  const TemporaryFolder folder;
  const PlotStatus status = plot_training(run_with(folder, run_of(0, true)), folder / "a.png");
  EXPECT_FALSE(status.drawn);
  EXPECT_EQ(status.reason, "the run has no step to draw yet");
}

TEST(Curves, RefusesOtherFiles) {
  const TemporaryFolder folder;
  const RunReader run = run_with(folder, synthetic_run());
  EXPECT_ERROR_WITH("the file ending is \".jpg\", allowed: .png, .svg, .pdf", plot_training(run, folder / "a.jpg"));
}

}  // namespace
}  // namespace gradwise
