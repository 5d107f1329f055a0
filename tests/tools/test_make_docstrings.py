"""tools/make_docstrings.py and what tools/make_stubs.py makes of docstrings, on texts made up for it."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tools"))

from make_docstrings import comments_of  # noqa: E402
from make_stubs import without_docstrings  # noqa: E402

HEADER = '''
#pragma once
#include <vector>

/// About the file.
namespace gradwise {

/// Half open, { and } in a comment count for nothing.
/// Second line.
///
///   Range r{0, 3};
struct Range {
  double low = 0;  ///< its lower end
  std::vector<double> marks = {};
  const char* name = "a { brace";  ///< in quotes
  /// How long it is.
  [[nodiscard]] double length(double scale = {1}) const { return scale * (high - low); }
  double high = 0;

 private:
  /// Of its own.
  struct Inner {
    /// Deep.
    int depth();
  };
};

/// The first overload.
template <class T, class U = std::vector<T>>
[[nodiscard]] at::Tensor make(const T& from,
                              const U& to = {});
/// The second.
at::Tensor make(int);
int bare();
/// Of a function type.
[[nodiscard]] std::function<std::vector<int>(const Range&)> reader(double at);

namespace detail {
/// Inside.
using Alias = int;
}  // namespace detail
}  // namespace gradwise
'''


def test_comments_by_qualified_name():
    assert comments_of(HEADER) == {
        "Range": "Half open, { and } in a comment count for nothing.\nSecond line.\n\n  Range r{0, 3};",
        "Range::low": "its lower end",
        "Range::name": "in quotes",
        "Range::length": "How long it is.",
        "Range::Inner": "Of its own.",
        "Range::Inner::depth": "Deep.",
        "make": "The first overload.",
        "reader": "Of a function type.",
        "detail::Alias": "Inside.",
    }


STUB = '''
class Plain:
    """
    A doc.

      indented
    """
    def f(self) -> int:
        """
        Of f.
        """
    @property
    def x(self) -> int:
        ...
class Empty(Plain):
    """
    Nothing else.
    """
def g(a: int) -> int:
    """
    Of g.
    """
'''


def test_stubs_keep_no_docstrings():
    assert without_docstrings(STUB) == (
        "\nclass Plain:\n    def f(self) -> int:\n        ...\n    @property\n    def x(self) -> int:\n        ...\n"
        "class Empty(Plain):\n    pass\ndef g(a: int) -> int:\n    ...\n"
    )
