#include "gradwise/report/figures.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "gradwise/report/comparison.h"
#include "tests/data/error_of.h"
#include "tests/data/temporary_folder.h"
#include "tests/record/synthetic_run.h"
#include "tests/report/drawn_run.h"

namespace gradwise {
namespace {

std::vector<Event> run_named(const std::string& name) {
  std::vector<Event> events = run_of(10, true);
  std::get<RunStarted>(events.front().payload).name = name;
  return events;
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

TEST(Figures, AllHavePanelsOfAWatchedRunAndNoneOfAnother) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "plain");
  const TemporaryFolder other;
  const RunReader watched = run_with(folder, watched_events(60));
  store_analysis(folder);
  const RunReader plain = run_with(other, run_of(60, true));
  for (const Figure& figure : figures()) {
    EXPECT_FALSE(figure.panels(watched).empty()) << figure.name;
    EXPECT_EQ(figure.panels(plain).empty(), figure.name != "training") << figure.name;
    const PlotStatus status = plot_figure(figure, watched, folder / (figure.name + ".svg"));
    if (status.reason == "the program gnuplot is not installed") {
      GTEST_SKIP() << status.reason;
    }
    EXPECT_TRUE(status.drawn) << figure.name << ": " << status.reason;
  }
  EXPECT_EQ(plot_figure(figure_named("memory"), plain, folder / "a.png").reason,
            "the run holds nothing of this kind; it takes AutogradTrainingLoop and its option measure_memory");
  const std::string hint = plot_figure(figure_named("hessian"), plain, folder / "a.png").reason;
  EXPECT_NE(hint.find("it takes gradwise.GradientAnalyzer({\"compute_hessian\": True})"), std::string::npos) << hint;
  (void)other.write("config.toml", "");
  EXPECT_EQ(plot_figure(figure_named("hessian"), plain, folder / "a.png").reason,
            "the run holds nothing of this kind; it takes gradwise analyze RUN --hessian");
  EXPECT_EQ(plot_figure(figure_named("memory"), plain, folder / "a.png").reason,
            "the run holds nothing of this kind; it takes train.measure_memory");
  const std::string norms = content_of(folder / "norms.svg");
  EXPECT_NE(norms.find("layer_5.weight"), std::string::npos) << "underscores are not taken for subscripts";
  EXPECT_NE(content_of(folder / "training.svg").find("nonfinite_gradient"), std::string::npos);
  EXPECT_ERROR_WITH("there is no figure \"norm\"; did you mean \"norms\"?", figure_named("norm"));
}

// Of 4,500 steps three make a point, and the greatest of them is drawn.
TEST(Figures, MemoryIsThePeakOfTheStepsThatAPointStandsFor) {
  const TemporaryFolder folder;
  std::vector<Event> events = run_of(4500, true);
  for (Event& event : events) {
    if (auto* info = std::get_if<StepInfo>(&event.payload)) {
      info->peak_bytes = (info->step % 3 == 1 ? 8.0 : 2.0) * 1024 * 1024;
    }
  }
  const std::vector<Panel> panels = figure_named("memory").panels(run_with(folder, events));
  ASSERT_EQ(panels.size(), 1U);
  EXPECT_NE(panels[0].commands.find("\n3 8\n6 8\n9 8\n"), std::string::npos);
  EXPECT_EQ(panels[0].commands.find(" 2\n"), std::string::npos);
  EXPECT_NE(panels[0].commands.find("MiB"), std::string::npos);
}

// One look at the run, with gradients of one size: no range of colours, no range of steps.
TEST(Figures, AreDrawnOfASingleReading) {
  const TemporaryFolder folder;
  const RunReader run = run_with(folder, watched_events(10));
  store_analysis(folder);
  for (const Figure& figure : figures()) {
    const PlotStatus status = plot_figure(figure, run, folder / (figure.name + ".png"));
    if (status.reason == "the program gnuplot is not installed") {
      GTEST_SKIP() << status.reason;
    }
    EXPECT_TRUE(status.drawn) << figure.name << ": " << status.reason;
  }
}

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) {
    ++count;
  }
  return count;
}

// Of gnuplot's SVG: a dot of point type 7 is its mark 6.
TEST(Figures, ShowALoneValueAsADot) {
  const TemporaryFolder one;
  const TemporaryFolder two;
  const PlotStatus status = plot_training(run_with(one, run_of(1, true)), one / "a.svg");
  if (status.reason == "the program gnuplot is not installed") {
    GTEST_SKIP() << status.reason;
  }
  EXPECT_TRUE(plot_training(run_with(two, run_of(2, true)), two / "a.svg").drawn);
  const std::string dot = "xlink:href='#gpPt6'";
  EXPECT_EQ(count_of(content_of(one / "a.svg"), dot), 2 * 3U) << "loss, norm and rate, each with its key";
  EXPECT_EQ(count_of(content_of(two / "a.svg"), dot), 0U);
}

TEST(Figures, TheHessianIsThatOfTheStoredAnalysis) {
  const TemporaryFolder folder;
  const RunReader run = run_with(folder, synthetic_run());
  const Figure& hessian = figure_named("hessian");
  store_analysis(folder);
  const std::vector<Panel> panels = hessian.panels(run);
  ASSERT_EQ(panels.size(), 4U);
  EXPECT_NE(panels[0].commands.find("'layer_1' 2"), std::string::npos) << panels[0].commands;
  EXPECT_NE(panels[0].commands.find("\n2 3 0.01\n"), std::string::npos) << panels[0].commands;
  EXPECT_NE(panels[0].commands.find("largest eigenvalue (bar: residual)"), std::string::npos) << panels[0].commands;
  EXPECT_NE(panels[1].commands.find("trace (bar: one standard error)"), std::string::npos) << panels[1].commands;
  EXPECT_NE(panels[2].commands.find("\n0 0.8 0.7 0.9\n"), std::string::npos) << panels[2].commands;
  EXPECT_NE(panels[3].commands.find("edge at 2"), std::string::npos) << panels[3].commands;
  EXPECT_NE(panels[3].commands.find("largest eigenvalue of the preconditioned Hessian"), std::string::npos);
  EXPECT_TRUE(panels[0].title.ends_with(", at step 7")) << panels[0].title;
  // Of an earlier version, without layers, band and edge; without a Hessian; and no analysis at all.
  std::ofstream(folder / "gradient_analysis.json")
      << R"({"hessian": {"eigenvalues": [4], "eigenvalue_errors": [0.1], "trace": 20, "density": [[0, 1], [4, 0.1]]}})";
  EXPECT_EQ(hessian.panels(run).size(), 3U);
  std::ofstream(folder / "gradient_analysis.json") << R"({"hessian": {"eigenvalues": []}})";
  EXPECT_TRUE(hessian.panels(run).empty());
  std::ofstream(folder / "gradient_analysis.json") << "[1]";
  EXPECT_ERROR_WITH("gradient_analysis.json is not an analysis of this version", hessian.panels(run));
}

TEST(Figures, SayWhereTheyCannotBeWritten) {
  const TemporaryFolder folder;
  const RunReader run = run_with(folder, synthetic_run());
  EXPECT_EQ(plot_training(run, folder / "no/such/a.png").reason, "there is no folder " + (folder / "no/such").string());
  const std::filesystem::path file = folder.write("file", "");
  EXPECT_EQ(plot_training(run, file / "a.png").reason, "there is no folder " + file.string());
  const std::filesystem::path taken = folder / "out/taken.png";
  std::filesystem::create_directories(taken);
  const PlotStatus status = plot_training(run, taken);
  if (status.reason == "the program gnuplot is not installed") {
    GTEST_SKIP() << status.reason;
  }
  EXPECT_TRUE(status.reason.starts_with("can't write " + taken.string() + ": ")) << status.reason;
  EXPECT_EQ(files_in(folder / "out"), 1U) << "nothing else is left there";
}

TEST(Figures, SayThatTheirFolderCannotBeWrittenTo) {
  if (::geteuid() == 0) {
    GTEST_SKIP() << "the super user may write everywhere";
  }
  const TemporaryFolder folder;
  const RunReader run = run_with(folder, synthetic_run());
  const std::filesystem::path closed = folder / "closed";
  std::filesystem::create_directory(closed);
  std::filesystem::permissions(closed, std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
  EXPECT_EQ(plot_training(run, closed / "a.png").reason, "the folder " + closed.string() + " can't be written to");
}

TEST(Comparison, ListsRunsAndTheSettingsThatDiffer) {
  const TemporaryFolder one;
  const TemporaryFolder two;
  std::ofstream(one / "config.toml") << "[optimizer]\nlr = 0.1\nname = \"sgd\"\n";
  std::ofstream(two / "config.toml") << "[optimizer]\nlr = 0.2\nname = \"sgd\"\n";
  std::vector<RunReader> runs;
  runs.push_back(run_with(one, synthetic_run()));
  runs.push_back(run_with(two, run_of(30, true)));
  const std::string text = text_comparison(runs);
  EXPECT_NE(text.find("optimizer.lr"), std::string::npos);
  EXPECT_EQ(text.find("optimizer.name"), std::string::npos) << "it is the same in both";
  const PlotStatus status = plot_comparison(runs, one / "a.svg");
  if (status.reason == "the program gnuplot is not installed") {
    GTEST_SKIP() << status.reason;
  }
  EXPECT_TRUE(status.drawn) << status.reason;
  EXPECT_NE(content_of(one / "a.svg").find("Comparison of 2 runs"), std::string::npos);
}

TEST(Curves, RefusesOtherFiles) {
  const TemporaryFolder folder;
  const RunReader run = run_with(folder, synthetic_run());
  EXPECT_ERROR_WITH("the file ending is \".jpg\", allowed: .png, .svg, .pdf", plot_training(run, folder / "a.jpg"));
}

}  // namespace
}  // namespace gradwise
