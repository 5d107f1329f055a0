"""Prose of the documentation fits a page of 120 columns; tables, code and pictures are as wide as they are."""

import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[2]
WIDTH = 120


def wide_lines(text):
    """Numbers of the lines of prose that are wider than the page."""
    found, in_code = [], False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            in_code = not in_code
        elif len(line) > WIDTH and not in_code and not line.lstrip().startswith(("|", "![")):
            found.append(number)
    return found


def test_code_tables_and_pictures_may_be_wide():
    wide = "x " * 61
    text = f"{wide}\n| {wide}\n![{wide}](a.png)\n```sh\n{wide}\n```\n- {wide}\n{'é' * WIDTH}\n"
    assert wide_lines(text) == [1, 7]


@pytest.mark.parametrize(
    "path",
    [ROOT / "CHANGELOG.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("docs/how-to/*.md"))],
    ids=lambda path: path.stem,
)
def test_prose_fits_the_page(path):
    assert wide_lines(path.read_text(encoding="utf-8")) == []
