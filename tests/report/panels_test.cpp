#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gradwise/plot/hessian_panels.h"
#include "gradwise/plot/script_text.h"
#include "gradwise/plot/vector_panels.h"
#include "gradwise/report/layer_panels.h"
#include "gradwise/report/training_panels.h"
#include "gradwise/report/watch_panels.h"
#include "tests/data/temporary_folder.h"
#include "tests/record/synthetic_run.h"
#include "tests/report/drawn_run.h"

namespace gradwise {
namespace {

// One reading, at step 10, of eleven weights: cosines 0, 0.1, ... 1, all updates 2e-3.
RunReader run_of_eleven_weights(const TemporaryFolder& folder) {
  RunFacts facts;
  auto reading = std::make_shared<StepReading>();
  reading->step = 10;
  for (int layer = 0; layer < 11; ++layer) {
    facts.parameters.push_back({"layer_" + std::to_string(layer) + ".weight", {32, 16}});
    ParameterReading& read = reading->parameters.emplace_back();
    read.grad_norm = 1;
    read.grad_cosine = 0.1 * layer;
    read.update_ratio = 2e-3;
  }
  for (const char* layer : {"stem", "body", "head"}) {
    reading->activations.push_back({.layer = layer, .op = "relu", .elements = 64, .dead = 0.25});
  }
  return run_with(folder, {event_after(0, 0, synthetic_start()), event_after(10, 10, synthetic_step(10)),
                           event_after(10, 10, WatchedStep{std::make_shared<const RunFacts>(facts), reading})});
}

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// numpy.quantile(numpy.arange(11) / 10, [0.25, 0.5, 0.75]) is 0.25, 0.5, 0.75.
TEST(Panels, AnglesHaveQuartilesBetweenRanks) {
  const TemporaryFolder folder;
  const std::vector<Panel> panels = angle_panels(run_of_eleven_weights(folder));
  ASSERT_EQ(panels.size(), 1U);
  EXPECT_TRUE(holds(panels[0].commands, "\n10 0.25 0.5 0.75 0 1\n")) << panels[0].commands;
}

TEST(Panels, SayHowManyLayersTheyShowAndShowTheWholeBand) {
  const TemporaryFolder folder;
  const RunReader run = run_of_eleven_weights(folder);
  const std::vector<Panel> norms = norm_panels(run);
  ASSERT_EQ(norms.size(), 2U);
  EXPECT_FALSE(holds(norms[0].title, " of 11")) << norms[0].title;
  EXPECT_TRUE(holds(norms[1].title, "8 of 11")) << norms[1].title;
  const std::vector<Panel> updates = update_panels(run);
  ASSERT_EQ(updates.size(), 2U);
  EXPECT_TRUE(holds(updates[0].title, "8 of 11")) << updates[0].title;
  EXPECT_TRUE(holds(updates[0].commands, "set yrange [5e-05:0.02]")) << updates[0].commands;
}

TEST(Panels, ActivationsStandInTheOrderOfTheForwardPass) {
  const TemporaryFolder folder;
  const std::vector<Panel> panels = activation_panels(run_of_eleven_weights(folder));
  ASSERT_EQ(panels.size(), 1U);
  const std::string& text = panels[0].commands;
  EXPECT_LT(text.find("relu after stem"), text.find("relu after body"));
  EXPECT_LT(text.find("relu after body"), text.find("relu after head"));
}

// A mean over the whole window behind it would hide a fast start.
TEST(Panels, SmoothedLossBeginsWithTheFirst) {
  std::vector<StepInfo> steps;
  for (std::int64_t step = 1; step <= 500; ++step) {
    steps.push_back(synthetic_step(step));
    steps.back().loss = 1.0 / static_cast<double>(step);
  }
  const std::vector<CurvePoint> curve = curve_of(steps);
  EXPECT_EQ(curve[0].smooth_loss, 1);
  EXPECT_NEAR(curve[1].smooth_loss, (1 + 1.0 / 2 + 1.0 / 3) / 3, 1e-12);
}

TEST(Panels, BarsBeginAtZeroAndPointsMayStandOnALogarithmicAxis) {
  const std::vector<std::string> names{"a", "b"};
  const std::string points = bar_panel("title", "axis", names, {1e-4, 1}).commands;
  EXPECT_TRUE(holds(points, "logscale") && holds(points, "with points")) << points;
  const std::string bars = bar_panel("title", "axis", names, {1e-4, 1}, {0, 0.1}).commands;
  EXPECT_TRUE(holds(bars, "set yrange [0:*]") && holds(bars, "with boxes")) << bars;
  EXPECT_FALSE(holds(bars, "logscale")) << bars;
}

TEST(Panels, DotsMarkALineWithAValueBetweenGaps) {
  const double gap = std::nan("");
  const std::vector<std::vector<double>> rows{{1, gap, 1, gap, 5}, {2, 7, 2, gap, 5}, {3, gap, gap, gap, gap}};
  const auto line = [&rows](std::size_t column) { return plotted_line("rows", rows, column, "red", "it"); };
  EXPECT_EQ(line(2), "$rows using 1:2 with linespoints pt 7 ps 0.7 lw 2 lc rgb 'red' title 'it'");
  EXPECT_EQ(line(3), "$rows using 1:3 with lines lw 2 lc rgb 'red' title 'it'");
  EXPECT_TRUE(holds(line(4), "with lines ")) << "no value at all";
  EXPECT_TRUE(holds(line(5), "with lines "));
  const std::string last = plotted_line("rows", {{1, 5}, {2, gap}, {3, 5}}, 2, "red", "it", "lw 1 dt 2");
  EXPECT_TRUE(holds(last, "with linespoints pt 7 ps 0.7 lw 1 dt 2 lc")) << last;
}

TEST(Panels, NoEdgeOfStabilityIsDrawnAtALearningRateOfZero) {
  HessianFigures figures;
  figures.edge = {"sgd", 0, 0};
  figures.edge_threshold = 2;
  EXPECT_TRUE(hessian_panels(figures).empty());
  figures.edge.value = 0.5;
  EXPECT_EQ(hessian_panels(figures).size(), 1U);
}

}  // namespace
}  // namespace gradwise
