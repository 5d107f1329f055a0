#!/usr/bin/env python3
"""Writes the docstrings of the Python extension from the `///` comments of the C++ headers.

    tools/make_docstrings.py OUTPUT.h

The bindings name what they want, as `doc::Hessian` or, for a member, `doc::Hessian_gradient`; OUTPUT.h defines these
and no others. A name that no header has a comment for is an error.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SCOPE = re.compile(r"^(namespace|class|struct|enum class|enum)\s+([\w:]+)")


def bare(statement: str) -> str:
    """A declaration without access specifiers, attributes and template parameters."""
    statement = re.sub(r"^((public|private|protected):\s*)+|\[\[\w+\]\]\s*", "", statement.strip())
    while match := re.match(r"template\s*<", statement):
        depth, end = 1, match.end()
        while depth:
            depth += {"<": 1, ">": -1}.get(statement[end], 0)
            end += 1
        statement = statement[end:].strip()
    return statement


def declared_name(statement: str) -> str:
    """The name that a bare declaration introduces, or "": `at::Tensor f(int x)` gives f, `double lr = 1` gives lr."""
    if match := SCOPE.match(statement):
        return match.group(2)
    if match := re.match(r"using\s+(\w+)\s*=", statement):
        return match.group(1)
    while (plain := re.sub(r"<[^<>]*>", "", statement)) != statement:  # a function type has parentheses of its own
        statement = plain
    before = re.split(r"[(={]", statement, maxsplit=1)[0]
    match = re.search(r"(\w+)\s*$", before)
    return match.group(1) if match and "operator" not in statement else ""


def comments_of(header: str) -> dict[str, str]:
    """The text of each comment by its declaration's qualified name, without the namespace gradwise; of overloads, the
    first one's."""
    found: dict[str, str] = {}
    scopes: list[str | None] = []  # None: the inside of a function or an initialiser
    pending: list[str] = []
    statement, last, parentheses = "", "", 0

    def end_statement() -> None:
        nonlocal pending, last
        last = declared_name(bare(statement))
        if last and None not in scopes:
            path = [name for name in scopes if name and name != "gradwise"]
            last = "::".join([*path, last])
            if pending:
                found.setdefault(last, text_of(pending))
        pending = []

    for line in header.splitlines():
        if match := re.match(r"\s*///(?!<)(.*)", line):
            pending.append(match.group(1))
            continue
        code, _, after = re.sub(r"\"(\\.|[^\"\\])*\"|'(\\.|[^'\\])'", "0", line).partition("//")
        if code.startswith("#"):
            continue
        for letter in code + " ":
            parentheses += {"(": 1, ")": -1}.get(letter, 0)
            if parentheses or letter not in "{};":
                statement += letter
                continue
            if letter == "{":
                scope = SCOPE.match(bare(statement))
                if scope and scope.group(1) == "namespace":
                    pending = []
                end_statement()
                scopes.append(scope.group(2) if scope else None)
            elif letter == "}":
                scopes.pop()
            elif statement.strip():
                end_statement()
            statement = ""
        if after.startswith("/<") and last:
            found.setdefault(last, after[2:].strip())
    return found


def text_of(lines: list[str]) -> str:
    return "\n".join(line.removeprefix(" ").rstrip() for line in lines).strip()


def comments() -> dict[str, str]:
    """Those of all headers, a member's name joined to its class by `_`; of overloads in several headers the one that a
    compiler reads first: a header comes after those that it includes."""
    found: dict[str, str] = {}
    read: set[pathlib.Path] = set()

    def read_header(path: pathlib.Path) -> None:
        if path in read:
            return
        read.add(path)
        header = path.read_text()
        for included in re.findall(r'^#include "(gradwise/.+)"', header, flags=re.MULTILINE):
            read_header(ROOT / included)
        for name, text in comments_of(header).items():
            found.setdefault(name.replace("::", "_"), text)

    for path in sorted((ROOT / "gradwise").rglob("*.h")):
        read_header(path)
    return found


def main() -> int:
    wanted: dict[str, str] = {}
    for path in sorted((ROOT / "python/bindings").glob("*.cpp")):
        for name in re.findall(r"\bdoc::(\w+)", path.read_text()):
            wanted.setdefault(name, str(path.relative_to(ROOT)))
    known = comments()
    missing = [f"{path}: no header has a comment for doc::{name}" for name, path in wanted.items() if name not in known]
    if missing:
        print("\n".join(missing), file=sys.stderr)
        return 1
    lines = [f'inline constexpr const char* {name} = R"doc({known[name]})doc";' for name in sorted(wanted)]
    text = "#pragma once\n\nnamespace gradwise::python::doc {\n\n" + "\n".join(lines) + "\n\n}\n"
    output = pathlib.Path(sys.argv[1])
    if not output.exists() or output.read_text() != text:  # else nothing has to be compiled again
        output.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
