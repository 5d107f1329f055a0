#include "gradwise/report/html_report.h"

#include <unistd.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>

#include "gradwise/core/atomic_file.h"
#include "gradwise/core/error.h"
#include "gradwise/record/duration_text.h"
#include "gradwise/record/run_folder.h"
#include "gradwise/report/figures.h"
#include "gradwise/report/text_table.h"

namespace gradwise {
namespace {

namespace fs = std::filesystem;

constexpr const char* kHead = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root { color-scheme: light dark; --line: #d5d9de; --soft: #f5f7f9; --text: #1d2329; --faint: #5d6873; --bad: #b3400e; }
@media (prefers-color-scheme: dark) { :root { --line: #3a434c; --soft: #20262c; --text: #e6eaee; --faint: #9aa6b2;
  --bad: #f0955f; } body { background: #15191d; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); max-width: 1240px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; } h2 { font-size: 1.25rem; margin: 2.2rem 0 .7rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; } .wide { overflow-x: auto; }
th, td { text-align: right; padding: .3rem .8rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--faint); font-weight: 600; } th:first-child, td:first-child, td.text { text-align: left; }
.finding { background: var(--soft); border-left: 4px solid var(--bad); border-radius: 4px; padding: .8rem 1.1rem;
  margin: .8rem 0; } .finding h3 { margin: 0 0 .4rem; font-size: 1.05rem; } .finding p { margin: .2rem 0; }
.faint { color: var(--faint); } figure { margin: 1rem 0 2rem; } figure img { width: 100%; border-radius: 6px;
  background: #fff; } figcaption { color: var(--faint); margin-bottom: .4rem; }
.well { background: var(--soft); border-left: 4px solid #2a9d6f; padding: .8rem 1.1rem; border-radius: 4px; }
@media print { body { max-width: none; } figure, .finding { break-inside: avoid; } }
</style>
)";

std::string escaped(const std::string& text) {
  std::string safe;
  for (const char letter : text) {
    switch (letter) {
      case '&':
        safe += "&amp;";
        break;
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '"':
        safe += "&quot;";
        break;
      default:
        safe += letter;
    }
  }
  return safe;
}

// A picture as a data URI: apart from the page, so that the names inside several pictures do not meet.
std::string as_data_uri(const std::string& svg) {
  static constexpr const char* kHex = "0123456789ABCDEF";
  std::string uri = "data:image/svg+xml,";
  for (const char letter : svg) {
    const auto byte = static_cast<unsigned char>(letter);
    if (byte < 0x20 || byte > 0x7e || std::string_view("%#\"<>{}&").find(letter) != std::string_view::npos) {
      uri += {'%', kHex[byte >> 4], kHex[byte & 15]};
    } else {
      uri += letter;
    }
  }
  return uri;
}

std::string html_table(const std::vector<std::vector<std::string>>& rows) {
  std::string text = "<div class=\"wide\"><table>";
  for (std::size_t r = 0; r < rows.size(); ++r) {
    text += "<tr>";
    for (const std::string& cell : rows[r]) {
      text += (r == 0 ? "<th>" : "<td>") + escaped(cell) + (r == 0 ? "</th>" : "</td>");
    }
    text += "</tr>\n";
  }
  return text + "</table></div>\n";
}

std::string facts_html(const RunReader& run, const RunSummary& summary) {
  std::string status = summary.status;
  if (const std::string reason = run.info("reason"); !reason.empty() && status != "running") {
    status += " (" + reason + ")";
  }
  return "<h1>" + escaped(summary.name) + "</h1>\n<p class=\"faint\">" + escaped(run.info("model")) + ", " +
         escaped(run.info("parameters")) + " parameters, " + escaped(run.info("device")) + " · " + escaped(status) +
         " · " + time_text(summary.started) + ", " + duration_text(summary.seconds) + " · " +
         std::to_string(summary.step) + " optimizer steps · best validation " +
         escaped(summary.best.empty() ? "-" : summary.best) + "</p>\n";
}

std::string issue_line(const char* head, const Issue& issue) {
  std::string text = "<p><span class=\"faint\">" + std::string(head) + "</span> " + escaped(issue.message);
  if (std::isfinite(issue.value) && std::isfinite(issue.threshold)) {
    text += " (" + number_text(issue.value, 3) + " against " + number_text(issue.threshold, 3) + ")";
  }
  return text + " <span class=\"faint\">" + escaped(issue.rule) + ", step " + std::to_string(issue.step) +
         "</span></p>\n";
}

std::string diagnosis_html(const RunReader& run) {
  const std::vector<Finding> findings = run.findings();
  std::string text = "<h2>Diagnosis</h2>\n";
  if (findings.empty()) {
    return text + "<p class=\"well\">" +
           (run.issues().empty() ? "Nothing to report."
                                 : "No cause has enough evidence; single issues of rules are listed below.") +
           "</p>\n";
  }
  for (const Finding& finding : findings) {
    text += "<div class=\"finding\"><h3>" + escaped(finding.title) +
            (finding.layer.empty() ? "" : ": " + escaped(finding.layer)) + " <span class=\"faint\">" +
            number_text(std::round(100 * finding.confidence), 3) + " %, from step " + std::to_string(finding.step) +
            "</span></h3>\n";
    for (const Issue& issue : finding.evidence) {
      text += issue_line("evidence", issue);
    }
    for (const Issue& issue : finding.symptoms) {
      text += issue_line("follows", issue);
    }
    text += "<p><strong>Remedy:</strong> " + escaped(finding.remedy) + "</p></div>\n";
  }
  return text;
}

std::string svg_of(const Figure& figure, const RunReader& run, std::string& complaint) {
  const fs::path drawn =
      fs::temp_directory_path() / ("gradwise-" + std::to_string(::getpid()) + "-" + figure.name + ".svg");
  const PlotStatus status = plot_figure(figure, run, drawn);
  if (!status.drawn) {
    complaint = status.reason;
    return {};
  }
  std::ifstream file(drawn, std::ios::binary);
  std::string svg{std::istreambuf_iterator<char>(file), {}};
  std::error_code ignored;
  fs::remove(drawn, ignored);
  return svg;
}

// "" where the run holds nothing of it. What can't be read, as a damaged analysis, costs the report its picture alone.
std::string figure_html(const Figure& figure, const RunReader& run) {
  std::string complaint;
  std::string svg;
  try {
    if (figure.panels(run).empty()) {
      return {};
    }
    svg = svg_of(figure, run, complaint);
  } catch (const Error& error) {
    complaint = error.what();
  }
  return "<figure><figcaption>" + escaped(figure.about) + "</figcaption>" +
         (svg.empty() ? "<p class=\"faint\">no picture: " + escaped(complaint) + "</p>"
                      : "<img alt=\"" + escaped(figure.about) + "\" src=\"" + as_data_uri(svg) + "\">") +
         "</figure>\n";
}

std::string figures_html(const RunReader& run) {
  std::string text = "<h2>Figures</h2>\n";
  for (const Figure& figure : figures()) {
    text += figure_html(figure, run);
  }
  return text;
}

std::string epochs_html(const RunReader& run) {
  std::vector<std::vector<std::string>> rows{{"epoch", "train loss", "gradient norm", "samples/s", "validation"}};
  std::map<std::int64_t, std::string> measured;
  for (const ValidationRow& row : run.validations()) {
    if (row.data == "validation") {
      std::string& cell = measured[row.step];
      cell += (cell.empty() ? "" : ", ") + row.metric + " " + number_text(row.value);
    }
  }
  for (const EpochRow& row : run.epochs()) {
    rows.push_back({std::to_string(row.epoch.epoch + 1), number_text(row.epoch.mean_loss),
                    number_text(row.epoch.mean_grad_norm), number_text(std::round(row.epoch.samples_per_second), 9),
                    measured.contains(row.step) ? measured[row.step] : "-"});
  }
  return rows.size() > 1 ? "<h2>Epochs</h2>\n" + html_table(rows) : std::string();
}

std::string issues_html(const RunReader& run) {
  struct Told {
    std::int64_t times = 0;
    Issue first;
  };
  std::map<std::pair<std::string, std::string>, Told> by_rule;
  for (const Issue& issue : run.issues()) {
    Told& told = by_rule[{issue.rule, issue.layer}];
    if (told.times++ == 0) {
      told.first = issue;
    }
  }
  std::vector<std::vector<std::string>> rows{{"rule", "layer", "first step", "times", "what was seen", "advice"}};
  for (const auto& [key, told] : by_rule) {
    rows.push_back({key.first, key.second.empty() ? "-" : key.second, std::to_string(told.first.step),
                    std::to_string(told.times), told.first.message, told.first.advice});
  }
  return rows.size() > 1 ? "<h2>Issues</h2>\n" + html_table(rows) : std::string();
}

}  // namespace

void write_html_report(const RunReader& run, const fs::path& path) {
  const RunSummary summary = summarize_run(run.folder());
  write_file_atomically(path, kHead + ("<title>" + escaped(summary.name) + " – Gradwise</title></head><body>\n") +
                                  facts_html(run, summary) + diagnosis_html(run) + figures_html(run) +
                                  epochs_html(run) + issues_html(run) + "</body></html>\n");
}

}  // namespace gradwise
