"""The torch that the core was built for: another one has other layouts of its objects."""

from __future__ import annotations

import pathlib


def check(running: str) -> None:
    built = (pathlib.Path(__file__).parent / "torch_version.txt").read_text().strip()
    if running.split("+")[0] != built.split("+")[0]:
        raise ImportError(
            f"gradwise was built for torch {built}, and torch {running} is running: build it again with "
            "`pip install --no-build-isolation --force-reinstall .`, or install that torch"
        )
