#include "gradwise/monitor/gradient_monitoring.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "tests/data/error_of.h"
#include "tests/data/temporary_folder.h"
#include "tests/optim/toy_model.h"

namespace gradwise {
namespace {

std::string text_in(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(GradientMonitoring, RemembersItsLooks) {
  const Model model = toy_model();
  GradientMonitoring monitoring({.gradient_norm_threshold = 1e-9});
  for (std::int64_t step = 10; step <= 30; step += 10) {
    const Batch batch = toy_batch(16, static_cast<unsigned int>(step));
    const MonitoringResult seen =
        monitoring.monitor_training_step(model, squared_error, batch.input, batch.target, step);
    EXPECT_EQ(seen.step, step);
    ASSERT_FALSE(seen.issues.empty());
    EXPECT_EQ(seen.issues.back().rule, "large_gradient_norm");
    EXPECT_EQ(seen.issues.back().step, step);
  }
  const MonitoringSummary summary = monitoring.get_monitoring_summary();
  EXPECT_EQ(summary.steps_monitored, 3);
  EXPECT_EQ(summary.first_step, 10);
  EXPECT_EQ(summary.last_step, 30);
  EXPECT_EQ(summary.statistics.analyses, 3);
  EXPECT_EQ(summary.issues_by_rule.front().second, 3);
  const TemporaryFolder folder;
  monitoring.save_monitoring_report(folder / "report.json");
  const nlohmann::json json = nlohmann::json::parse(text_in(folder / "report.json"));
  EXPECT_EQ(json["steps"].size(), 3U);
  EXPECT_EQ(json["steps"][1]["step"], 20);
  EXPECT_EQ(json["issues_by_rule"]["large_gradient_norm"], 3);
  monitoring.save_monitoring_report(folder / "report.txt");
  EXPECT_NE(text_in(folder / "report.txt").find("3 steps, 10 to 30"), std::string::npos);
}

TEST(GradientMonitoring, ForgetsAStepThatFailed) {
  const Model model = toy_model();
  GradientMonitoring monitoring;
  const Batch batch = toy_batch(2);
  EXPECT_ERROR_WITH("the batch has 2 samples",
                    monitoring.monitor_training_step(model, squared_error, batch.input, batch.target, 1));
  EXPECT_EQ(monitoring.get_monitoring_summary().steps_monitored, 0);
}

}  // namespace
}  // namespace gradwise
