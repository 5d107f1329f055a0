#!/usr/bin/env python3
"""Holds the include direction of the library, and a few rules on names, as a test.

    tools/check_layers.py [--root FOLDER]

Each violation is one line, `file:line: what is wrong, what is allowed`. Exit code 0: none; 1: some; 2: FOLDER holds no
Gradwise.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

# Which groups a group may include besides itself; docs/architecture.md says why.
LAYERS: dict[str, set[str]] = {
    "core": set(),
    "kernels": {"core"},
    "autograd": {"core", "kernels"},
    "optim": {"core", "kernels"},
    "dist": {"core"},
    "curvature": {"core", "autograd"},
    "rules": {"core"},
    "analysis": {"core", "autograd", "curvature", "plot", "rules"},
    "data": {"core"},
    "adapters": {"core", "autograd", "data"},
    "train": {"core", "autograd", "optim", "dist", "data"},
    "monitor": {"core", "kernels", "autograd", "analysis", "rules"},
    "record": {"core"},
    "plot": {"core"},
    "report": {"core", "plot", "record"},
    "serve": {"core", "record", "report"},
}

# A closed list: what belongs to one group alone does not go here.
CORE_HEADERS = {
    "atomic_file.h", "batch.h", "buffer_state.h", "element.h", "error.h", "event.h", "fields.h", "finding.h", "model.h",
    "named_parameters.h", "nearest_name.h", "observer.h", "random_state.h", "reading.h", "severity.h", "state.h",
    "step_info.h", "tensor_memory.h",
}  # fmt: skip

# <torch/torch.h> costs 20 s of compile time in each file that includes it.
MAY_INCLUDE_TORCH_H = ("gradwise/adapters/", "cli/", "examples/", "tests/", "benchmarks/")

# Names that promise nothing; autograd_utils is a name of the public Python interface.
EMPTY_WORDS = {"util", "utils", "common", "helper", "helpers", "manager", "managers"}
PUBLIC_NAMES = {"autograd_utils"}

FOLDERS = ("gradwise", "cli", "python", "examples", "tests", "benchmarks", "tools", "scripts")
SOURCES = {".h", ".hpp", ".cuh", ".cpp", ".cc", ".cu"}
HEADERS = {".h", ".hpp", ".cuh"}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


class Violation(NamedTuple):
    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


def files(root: Path) -> Iterator[PurePosixPath]:
    """Every file under the folders of FOLDERS, relative to `root`, in a fixed order."""
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield PurePosixPath(path.relative_to(root).as_posix())


def group_of(file: PurePosixPath) -> str | None:
    """The group that a file of gradwise/ stands in; None for one that stands in no group's folder."""
    return file.parts[1] if len(file.parts) > 2 else None


def listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"


def check_place(file: PurePosixPath) -> Iterator[Violation]:
    words = {word for part in (*file.parts[:-1], file.stem) if part not in PUBLIC_NAMES for word in part.split("_")}
    for word in sorted(words & EMPTY_WORDS):
        yield Violation(str(file), 1, f'"{word}" in a name says nothing: name the file after its one idea')
    if file.parts[0] != "gradwise" or file.suffix not in SOURCES:
        return
    group = group_of(file)
    if group is None:
        yield Violation(str(file), 1, "stands in no group: sources stand in gradwise/<group>/")
    elif group not in LAYERS:
        yield Violation(str(file), 1, f'unknown group "{group}", allowed: {listed(set(LAYERS))}')
    elif group == "core" and file.suffix in HEADERS and "/".join(file.parts[2:]) not in CORE_HEADERS:
        yield Violation(str(file), 1, "is not in the closed list of core's headers: does it belong to another group?")


def check_library_include(file: PurePosixPath, line: int, bracket: str, included: str) -> Iterator[Violation]:
    """The rules on one include in a file of gradwise/."""
    parts = PurePosixPath(included).parts
    if parts[0] != "gradwise":
        if bracket == '"':
            yield Violation(str(file), line, f'"{included}": our own headers are included as "gradwise/<group>/..."')
        return
    group, target = group_of(file), parts[1] if len(parts) > 2 else None
    if target not in LAYERS:
        yield Violation(str(file), line, f'"{included}" is of no known group, allowed: {listed(set(LAYERS))}')
    elif group in LAYERS and target != group and target not in LAYERS[group]:
        yield Violation(
            str(file), line, f"{group} -> {target} is not allowed; {group} may include: {listed(LAYERS[group])}"
        )


def check_includes(root: Path, file: PurePosixPath) -> Iterator[Violation]:
    if file.suffix not in SOURCES:
        return
    for line, text in enumerate((root / file).read_text(encoding="utf-8").splitlines(), start=1):
        found = INCLUDE.match(text)
        if found is None:
            continue
        bracket, included = found.groups()
        if included == "torch/torch.h" and not str(file).startswith(MAY_INCLUDE_TORCH_H):
            yield Violation(
                str(file), line, f"torch/torch.h is slow to compile, allowed in: {', '.join(MAY_INCLUDE_TORCH_H)}"
            )
        elif file.parts[0] == "gradwise":
            yield from check_library_include(file, line, bracket, included)


def violations(root: Path) -> list[Violation]:
    return [v for file in files(root) for v in (*check_place(file), *check_includes(root, file))]


def main() -> int:
    parser = argparse.ArgumentParser(description="Checks the include direction of gradwise/ and rules on names.")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[1], help="the repository")
    root: Path = parser.parse_args().root
    if not (root / "gradwise").is_dir():
        print(f"check_layers: {root} has no folder gradwise", file=sys.stderr)
        return 2
    found = violations(root)
    for violation in found:
        print(violation)
    print(f"check_layers: {len(found)} violation(s)" if found else "check_layers: all includes go downwards")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
