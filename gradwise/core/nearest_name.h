#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace gradwise {

/// The known name with the smallest edit distance (Levenshtein) to `name`, or "" where none is near enough to be a
/// slip of the fingers (more than a third of its letters differ, at least two allowed).
[[nodiscard]] std::string nearest_name(std::string_view name, const std::vector<std::string>& known);

/// `; did you mean "x"?`, or "" where nothing is near: the tail of an error about an unknown name.
[[nodiscard]] std::string did_you_mean(std::string_view name, const std::vector<std::string>& known);

/// Shell-like match of a dotted name: `*` stands for any letters, `?` for one.
[[nodiscard]] bool matches_pattern(std::string_view name, std::string_view pattern);

/// "features.0" of "features.0.weight"; a name without a dot is its own.
[[nodiscard]] std::string layer_of(const std::string& parameter);

}  // namespace gradwise
