#include "cli/config/explain.h"

#include "cli/config/toml_writer.h"
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
  template <FieldType T>
  void add(std::string_view key, const T& value, std::string_view meaning, const Allowed& allowed) {
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
    text_ += "\n[" + outer + std::string(key) + "]  " + std::string(meaning) + "\n";
    describe(*this, options);
    prefix_ = outer;
  }

  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string prefix_;
  std::string text_;
};

}  // namespace

std::string explain_config() {
  RunConfig defaults;
  Explainer explainer;
  describe(explainer, defaults);
  return explainer.text();
}

}  // namespace gradwise
