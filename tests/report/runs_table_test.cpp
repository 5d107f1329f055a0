#include "gradwise/report/runs_table.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "gradwise/report/text_table.h"

namespace gradwise {
namespace {

TEST(RunsTable, HasARowForEachRun) {
  RunSummary first;
  first.name = "digits";
  first.status = "finished";
  first.step = 1200;
  first.epochs = 3;
  first.best = "accuracy 0.9213";
  first.started = 1'700'000'000;
  first.seconds = 75;
  RunSummary second;
  second.name = "a-longer-name";
  second.status = "unreadable";
  EXPECT_EQ(runs_table({first, second}),
            "  run             status       started               duration   epochs   steps   best\n"
            "  digits          finished     " +
                time_text(first.started) +
                "       1:15        3    1200   accuracy 0.9213\n"
                "  a-longer-name   unreadable   -                         0:00        0       0   -\n");
}

}  // namespace
}  // namespace gradwise
