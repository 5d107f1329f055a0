#include "gradwise/report/html_report.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gradwise/report/figures.h"
#include "tests/data/temporary_folder.h"
#include "tests/record/synthetic_run.h"
#include "tests/report/drawn_run.h"

namespace gradwise {
namespace {

TEST(HtmlReport, HoldsEverythingInOneFile) {
  const TemporaryFolder folder;
  std::vector<Event> events = watched_events(60);
  Diagnosed diagnosed;
  diagnosed.findings.push_back({.cause = "vanishing_gradient",
                                .title = "the gradient <vanishes>",
                                .layer = "layer_0",
                                .step = 10,
                                .confidence = 0.9,
                                .evidence = {synthetic_issue(10)},
                                .remedy = "use ReLU & normalise"});
  events.push_back(event_after(61, 60, diagnosed));
  store_analysis(folder);
  write_html_report(run_with(folder, events), folder / "report.html");
  const std::string page = content_of(folder / "report.html");
  EXPECT_TRUE(page.starts_with("<!doctype html>"));
  EXPECT_NE(page.find("the gradient &lt;vanishes&gt;: layer_0"), std::string::npos);
  EXPECT_NE(page.find("use ReLU &amp; normalise"), std::string::npos);
  EXPECT_EQ(page.find("<script"), std::string::npos);
  EXPECT_EQ(page.find("src=\"http"), std::string::npos);
  if (page.find("is not installed") == std::string::npos) {
    std::size_t pictures = 0;
    for (std::size_t at = page.find("data:image/svg+xml,"); at != std::string::npos;
         at = page.find("data:image/svg+xml,", at + 1)) {
      ++pictures;
    }
    EXPECT_EQ(pictures, figures().size());
  }
  write_html_report(run_with(TemporaryFolder(), run_of(3, true)), folder / "well.html");
  EXPECT_NE(content_of(folder / "well.html").find("Nothing to report"), std::string::npos);
  std::vector<Event> hinted = run_of(3, true);
  hinted.push_back(event_after(3, 3, synthetic_issue(2)));
  write_html_report(run_with(TemporaryFolder(), hinted), folder / "hinted.html");
  const std::string hints = content_of(folder / "hinted.html");
  EXPECT_EQ(hints.find("Nothing to report"), std::string::npos) << "an issue is listed";
  EXPECT_LT(hints.find("single issues of rules are listed below"), hints.find("<h2>Issues"));
}

TEST(HtmlReport, OutlivesADamagedAnalysis) {
  const TemporaryFolder folder;
  const RunReader run = run_with(folder, synthetic_run());
  std::ofstream(folder / "gradient_analysis.json") << "{";
  write_html_report(run, folder / "report.html");
  const std::string page = content_of(folder / "report.html");
  EXPECT_NE(page.find("gradient_analysis.json is not an analysis of this version"), std::string::npos);
  EXPECT_NE(page.find("peak memory of each step"), std::string::npos) << "a figure behind it";
}

TEST(HtmlReport, SaysThatItHasNoPictures) {
  const TemporaryFolder folder;
  const RunReader run = run_with(folder, synthetic_run());
  std::filesystem::create_directory(folder / "empty");
  const NoPrograms guard(folder / "empty");
  write_html_report(run, folder / "report.html");
  EXPECT_NE(content_of(folder / "report.html").find("no picture: the program gnuplot is not installed"),
            std::string::npos);
}

}  // namespace
}  // namespace gradwise
