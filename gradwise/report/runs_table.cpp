#include "gradwise/report/runs_table.h"

#include "gradwise/record/duration_text.h"
#include "gradwise/report/text_table.h"

namespace gradwise {

std::string runs_table(const std::vector<RunSummary>& runs) {
  std::vector<std::vector<std::string>> rows{{"run", "status", "started", "duration", "epochs", "steps", "best"}};
  for (const RunSummary& run : runs) {
    rows.push_back({run.name, run.status, time_text(run.started), duration_text(run.seconds),
                    std::to_string(run.epochs), std::to_string(run.step), run.best.empty() ? "-" : run.best});
  }
  return text_table(rows);
}

}  // namespace gradwise
