#include "cli/config/explain.h"

#include <utility>

#include "cli/config/toml_writer.h"
#include "gradwise/core/error.h"
#include "gradwise/core/nearest_name.h"
#include "gradwise/report/text_table.h"

namespace gradwise {
namespace {

constexpr std::size_t kIndent = 6;

const char* type_name(bool) { return "bool"; }
const char* type_name(std::int64_t) { return "integer"; }
const char* type_name(double) { return "number"; }
const char* type_name(const std::string&) { return "text"; }
const char* type_name(const std::vector<double>&) { return "numbers"; }
const char* type_name(const std::vector<std::int64_t>&) { return "integers"; }
const char* type_name(const std::vector<std::string>&) { return "texts"; }

class Explainer {
 public:
  explicit Explainer(std::string wanted) : wanted_(std::move(wanted)) {}

  template <FieldType T>
  void add(std::string_view key, const T& value, std::string_view meaning, const Allowed& allowed) {
    known_.push_back(prefix_ + std::string(key));
    if (!is_wanted(known_.back())) {
      return;
    }
    text_ += "  " + prefix_ + std::string(key) + "  (" + type_name(value) + ", default " + toml_value(value) + ")\n";
    std::string line(meaning);
    if (allowed.number || !allowed.words.empty()) {
      line += "; allowed: " + allowed.text;
    }
    text_ += wrapped(line, kIndent);
  }

  template <class Options>
  void group(std::string_view key, Options& options, std::string_view meaning) {
    const std::string outer = prefix_;
    prefix_ += std::string(key) + ".";
    known_.push_back(outer + std::string(key));
    if (is_wanted(known_.back())) {
      text_ += "\n[" + outer + std::string(key) + "]  " + std::string(meaning) + "\n";
    }
    describe(*this, options);
    prefix_ = outer;
  }

  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] const std::vector<std::string>& known() const { return known_; }
  /// The outermost groups, as one list.
  [[nodiscard]] std::string groups() const {
    std::string text;
    for (const std::string& name : known_) {
      text += name.find('.') != std::string::npos ? "" : (text.empty() ? "" : ", ") + name;
    }
    return text;
  }

 private:
  // All, the key itself, or one inside the group that is asked for.
  [[nodiscard]] bool is_wanted(const std::string& name) const {
    return wanted_.empty() || name == wanted_ || name.starts_with(wanted_ + ".");
  }

  std::string wanted_;
  std::string prefix_;
  std::string text_;
  std::vector<std::string> known_;
};

}  // namespace

std::string explain_config(const std::string& wanted) {
  RunConfig defaults;
  Explainer explainer(wanted);
  describe(explainer, defaults);
  if (explainer.text().empty()) {
    const std::string meant = did_you_mean(wanted, explainer.known());
    fail_usage("config", "there is no key or group \"", wanted, "\"",
               meant.empty() ? "; the groups are " + explainer.groups() : meant);
  }
  return explainer.text();
}

}  // namespace gradwise
