#!/usr/bin/env python3
"""Writes python/gradwise/_core.pyi from the built extension, or compares it.

    tools/make_stubs.py            # writes
    tools/make_stubs.py --check    # exit code 1 where the file is not what it would write
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("GRADWISE_BUILD", ROOT / "build"))
STUB = ROOT / "python/gradwise/_core.pyi"


def without_docstrings(text: str) -> str:
    """The stub without those of classes and functions: they are the headers' comments (tools/make_docstrings.py)."""

    def body(found: re.Match[str]) -> str:
        head, kind, indent, member = found.group("head", "kind", "indent", "member")
        return head + ("" if member is not None else f"{indent}pass\n" if kind == "class" else f"{indent}...\n")

    docstring = r'(?P<indent> +)"""\n(?:.*\n)*?(?P=indent)"""\n(?P<member>(?=(?P=indent)\S))?'
    return re.sub(rf"(?P<head>^ *(?P<kind>class|def)\b.*:\n){docstring}", body, text, flags=re.M)


def generated() -> str:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "pybind11_stubgen", "gradwise._core", "-o", folder, "--ignore-all-errors"],
            check=True, capture_output=True, env=os.environ | {"PYTHONPATH": str(BUILD / "python")},
        )  # fmt: skip
        text = (pathlib.Path(folder) / "gradwise/_core.pyi").read_text()
    text = without_docstrings(text)
    # pybind11 knows no element types.
    text = re.sub(r"(?<=[:\s])dict(?=[,)=:\s\]])", "dict[str, typing.Any]", text)
    text = re.sub(r"(?<=[:\s])list(?=[,)=:\s\]])", "list[typing.Any]", text)
    text = re.sub(r"(?<=[:\s])tuple(?=[,)=:\s\]])", "tuple[typing.Any, ...]", text)
    return re.sub(r"^(    def __exit__\(self), \*args\)", r"\1, *args: typing.Any)", text, flags=re.M)


def main() -> int:
    text = generated()
    if "--check" not in sys.argv[1:]:
        STUB.write_text(text)
        return 0
    if STUB.read_text() != text:
        print(f"{STUB.relative_to(ROOT)} does not fit the extension, write it again: tools/make_stubs.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
