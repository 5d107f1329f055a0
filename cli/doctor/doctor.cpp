#include "cli/doctor/doctor.h"

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <set>

#include "cli/config/subject.h"
#include "cli/config/toml_writer.h"
#include "cli/doctor/remedies.h"
#include "cli/doctor/trial.h"
#include "gradwise/core/atomic_file.h"
#include "gradwise/core/step_info.h"
#include "gradwise/monitor/diagnosis.h"
#include "gradwise/plot/canvas.h"

namespace gradwise {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kSteps = 200;   // of a trial, beyond the warm-up
constexpr int kRounds = 3;             // remedies that may be laid one over the other
constexpr double kImprovement = 0.02;  // what a remedy has to gain to be kept

// What is examined, and where a mended configuration goes.
struct Patient {
  Subject subject;
  fs::path mended;
};

Patient patient_of(const DoctorRequest& request) {
  GRADWISE_CHECK(request.fix || request.output.empty(), "doctor", "-o is ", request.output,
                 ", allowed: with --fix, which writes a configuration");
  Patient patient{subject_named(request.subject), request.output};
  if (patient.mended.empty()) {
    const fs::path& config = patient.subject.config;
    patient.mended = config.parent_path() / (config.stem().string() + ".mended.toml");
  }
  std::error_code problem;
  const fs::path folder = fs::absolute(patient.mended).parent_path();
  GRADWISE_CHECK(!request.fix || (folder_problem(folder).empty() && !fs::is_directory(patient.mended, problem)),
                 "doctor", "the mended configuration is to be ", patient.mended,
                 ", allowed by -o: a file in a folder that is there and can be written to");
  GRADWISE_CHECK(!request.fix || !fs::equivalent(patient.mended, patient.subject.config, problem), "doctor", "-o is ",
                 patient.mended, ", the configuration itself, allowed: another file");
  return patient;
}

RunConfig config_with(const Patient& patient, const std::vector<std::string>& overrides) {
  return config_of(patient.subject, overrides);
}

std::string figures_of(const Trial& trial) {
  char text[96];
  if (!trial.error.empty()) {
    return "broke after " + std::to_string(trial.losses.size()) + " steps";
  }
  std::snprintf(text, sizeof text, "loss %.4g -> %.4g",
                plain_nan(trial.losses.empty() ? kNotMeasured : trial.losses.front()), trial.final_loss());
  std::string all = text;
  if (!std::isnan(trial.held_out)) {
    std::snprintf(text, sizeof text, ", on held-out data %.4g", trial.held_out);
    all += text;
  }
  for (const auto& [name, value] : trial.metrics) {
    std::snprintf(text, sizeof text, ", %s %.4g", name.c_str(), plain_nan(value));
    all += text;
  }
  return all;
}

// What `Trial::figure` compares, for a reader.
std::string compared_figure_of(const Trial& trial) {
  char text[96];
  const char* what = std::isnan(trial.held_out) ? "training loss at the end" : "held-out loss";
  std::snprintf(text, sizeof text, "%s %.4g", what, trial.figure());
  return std::isinf(trial.figure()) ? "not finite" : text;
}

void print_trial(const Remedy& remedy, const Trial& trial, bool better) {
  std::printf("  %-44s %s; compared: %s%s\n", remedy.text.c_str(), figures_of(trial).c_str(),
              compared_figure_of(trial).c_str(), better ? "  <- best so far" : "");
  std::fflush(stdout);
}

void print_findings(const Trial& trial, std::int64_t warmup) {
  const auto seen = static_cast<std::int64_t>(trial.losses.size());
  if (trial.findings.empty() && seen <= warmup) {
    std::printf(
        "no finding, but only the warm-up was seen, %lld of its %lld steps: with more --steps, and epochs for them, "
        "the full learning rate is seen too\n",
        static_cast<long long>(seen), static_cast<long long>(warmup));
  } else if (trial.findings.empty()) {
    std::printf("healthy: no rule has anything to say that would need a remedy\n");
  } else {
    std::printf("%s", text_of(trial.findings).c_str());
  }
}

struct Cure {
  std::vector<std::string> overrides;
  std::vector<std::string> steps;  // as a reader sees them
  Trial trial;
};

// The best remedy for what a trial shows, or none that gains enough.
std::optional<Cure> best_remedy(const Patient& patient, const Cure& now, std::int64_t steps,
                                std::set<std::vector<std::string>>& tried) {
  std::optional<Cure> best;
  for (const Finding& finding : now.trial.findings) {
    for (const Remedy& remedy : remedies_for(finding.cause, config_with(patient, now.overrides))) {
      std::vector<std::string> overrides = now.overrides;
      overrides.insert(overrides.end(), remedy.overrides.begin(), remedy.overrides.end());
      if (!tried.insert(overrides).second) {
        continue;
      }
      Cure cure{overrides, now.steps, run_trial(config_with(patient, overrides), steps, patient.subject.checkpoint)};
      cure.steps.push_back(remedy.text);
      const double bar = best ? best->trial.figure() : now.trial.figure();
      const double gain = best ? 0 : kImprovement * std::abs(bar);
      const bool better = std::isinf(bar) ? std::isfinite(cure.trial.figure()) : cure.trial.figure() < bar - gain;
      print_trial(remedy, cure.trial, better);
      if (better) {
        best = std::move(cure);
      }
    }
    if (best) {
      std::printf("  kept: %s (%s, before %s)\n", best->steps.back().c_str(), compared_figure_of(best->trial).c_str(),
                  compared_figure_of(now.trial).c_str());
      break;  // the next round looks at what is left
    }
  }
  return best;
}

// A later override of a key hides an earlier one.
std::vector<std::string> last_of_each_key(const std::vector<std::string>& overrides) {
  std::vector<std::string> kept;
  for (const std::string& text : overrides) {
    const std::string key = text.substr(0, text.find('=') + 1);
    std::erase_if(kept, [&key](const std::string& earlier) { return earlier.starts_with(key); });
    kept.push_back(text);
  }
  return kept;
}

void write_mended(const Patient& patient, const Cure& cure) {
  RunConfig mended = config_with(patient, cure.overrides);
  mended.run.dir.clear();  // the sick run keeps its folder
  write_file_atomically(patient.mended, to_toml(mended));
  std::printf("mended configuration  %s\nor                    gradwise train %s", patient.mended.c_str(),
              patient.subject.config.c_str());
  for (const std::string& text : last_of_each_key(cure.overrides)) {
    std::printf(" --set '%s'", text.c_str());
  }
  std::printf("\n");
}

void mend(const Patient& patient, Cure now, std::int64_t steps) {
  const Trial before = now.trial;
  std::set<std::vector<std::string>> tried;
  const std::size_t given = now.overrides.size();
  for (int round = 0; round < kRounds && !now.trial.findings.empty(); ++round) {
    std::printf("\ntrying remedies, each from the same start:\n");
    std::optional<Cure> better = best_remedy(patient, now, steps, tried);
    if (!better) {
      break;
    }
    now = std::move(*better);
  }
  if (now.overrides.size() == given) {
    std::printf("\nno change of the configuration helps; it stays as it is\n");
    return;
  }
  std::printf("\nbefore  %s\nafter   %s\n", figures_of(before).c_str(), figures_of(now.trial).c_str());
  for (const std::string& step : now.steps) {
    std::printf("by      %s\n", step.c_str());
  }
  print_findings(now.trial, warmup_left(config_with(patient, now.overrides), patient.subject.checkpoint));
  write_mended(patient, now);
}

}  // namespace

int run_doctor(const DoctorRequest& request) {
  const Patient patient = patient_of(request);
  const RunConfig config = config_with(patient, request.overrides);
  const std::int64_t warmup = warmup_left(config, patient.subject.checkpoint);
  const std::int64_t steps = request.steps > 0 ? request.steps : warmup + kSteps;
  std::printf("%s: %lld steps under watch\n", request.subject.c_str(), static_cast<long long>(steps));
  std::fflush(stdout);
  Cure now{request.overrides, {}, run_trial(config, steps, patient.subject.checkpoint)};
  std::printf("%s, %.1f s\n", figures_of(now.trial).c_str(), now.trial.seconds);
  if (!now.trial.error.empty()) {
    std::printf("it broke: %s\n", now.trial.error.c_str());
  }
  print_findings(now.trial, warmup);
  if (request.fix && !now.trial.findings.empty()) {
    mend(patient, std::move(now), steps);
  }
  return 0;
}

}  // namespace gradwise
