#include "cli/config/explain.h"

#include "cli/config/toml_writer.h"

namespace gradwise {
namespace {

constexpr std::size_t kWidth = 100;
constexpr std::size_t kIndent = 6;

const char* type_name(bool) { return "bool"; }
const char* type_name(std::int64_t) { return "integer"; }
const char* type_name(double) { return "number"; }
const char* type_name(const std::string&) { return "text"; }
const char* type_name(const std::vector<double>&) { return "numbers"; }
const char* type_name(const std::vector<std::int64_t>&) { return "integers"; }
const char* type_name(const std::vector<std::string>&) { return "texts"; }

std::string wrapped(const std::string& text) {
  std::string result;
  std::string line(kIndent, ' ');
  std::size_t start = 0;
  while (start < text.size()) {
    const std::size_t end = std::min(text.find(' ', start), text.size());
    if (line.size() > kIndent && line.size() + 1 + end - start > kWidth) {
      result += line + "\n";
      line.assign(kIndent, ' ');
    }
    line += (line.size() > kIndent ? " " : "") + text.substr(start, end - start);
    start = end + 1;
  }
  return result + line + "\n";
}

class Explainer {
 public:
  template <FieldType T>
  void add(std::string_view key, const T& value, std::string_view meaning, const Allowed& allowed) {
    text_ += "  " + prefix_ + std::string(key) + "  (" + type_name(value) + ", default " + toml_value(value) + ")\n";
    std::string line(meaning);
    if (allowed.number || !allowed.words.empty()) {
      line += "; allowed: " + allowed.text;
    }
    text_ += wrapped(line);
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
