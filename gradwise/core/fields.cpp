#include "gradwise/core/fields.h"

#include <algorithm>
#include <cmath>
#include <sstream>

namespace gradwise {
namespace {

std::string number_text(double value) {
  std::ostringstream text;
  text.precision(10);
  text << value;
  return text.str();
}

bool word_allowed(const std::string& word, const Allowed& allowed) {
  return allowed.words.empty() || std::ranges::find(allowed.words, word) != allowed.words.end();
}

std::string complaint(const std::string& value, const Allowed& allowed) {
  return " is " + value + ", allowed: " + allowed.text;
}

template <class T>
std::string first_violation(const std::vector<T>& values, const Allowed& allowed) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (std::string why = violation(values[i], allowed); !why.empty()) {
      return "[" + std::to_string(i) + "]" + why;
    }
  }
  return {};
}

}  // namespace

std::string comma_separated(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) {
    text += (text.empty() ? "" : ", ") + word;
  }
  return text;
}

Allowed anything() { return {"anything", nullptr, {}}; }

Allowed positive() {
  return {"> 0", [](double x) { return x > 0; }, {}};
}

Allowed at_least(double low) {
  return {">= " + number_text(low), [low](double x) { return x >= low; }, {}};
}

Allowed between(double low, double high) {
  return {"from " + number_text(low) + " to " + number_text(high),
          [low, high](double x) { return x >= low && x <= high; },
          {}};
}

Allowed from_below(double low, double high) {
  return {"from " + number_text(low) + " to below " + number_text(high),
          [low, high](double x) { return x >= low && x < high; },
          {}};
}

Allowed one_of(std::vector<std::string> words) {
  std::string text = comma_separated(words);
  return {std::move(text), nullptr, std::move(words)};
}

std::string violation(bool /*value*/, const Allowed& /*allowed*/) { return {}; }

std::string violation(std::int64_t value, const Allowed& allowed) {
  const bool fine = !allowed.number || allowed.number(static_cast<double>(value));
  return fine ? std::string() : complaint(std::to_string(value), allowed);
}

std::string violation(double value, const Allowed& allowed) {
  if (std::isnan(value)) {
    return " is nan, allowed: a number" + (allowed.number ? " " + allowed.text : std::string());
  }
  const bool fine = !allowed.number || allowed.number(value);
  return fine ? std::string() : complaint(number_text(value), allowed);
}

std::string violation(const std::string& value, const Allowed& allowed) {
  return word_allowed(value, allowed) ? std::string() : complaint('"' + value + '"', allowed);
}

std::string violation(const std::vector<double>& value, const Allowed& allowed) {
  return first_violation(value, allowed);
}

std::string violation(const std::vector<std::int64_t>& value, const Allowed& allowed) {
  return first_violation(value, allowed);
}

std::string violation(const std::vector<std::string>& value, const Allowed& allowed) {
  return first_violation(value, allowed);
}

}  // namespace gradwise
