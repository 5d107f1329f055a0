"""The native part: whether it is there, and the torch that it was built for, as another one's objects differ."""

from __future__ import annotations

import importlib.util
import pathlib


def check(running: str) -> None:
    folder = pathlib.Path(__file__).parent
    if importlib.util.find_spec(f"{__package__}._core") is None:
        raise ImportError(
            f"the native part of gradwise is not built: {folder} has no _core. In a checkout run "
            "`scripts/build.sh gradwise_python` (before it, once, `scripts/setup.sh`) and set PYTHONPATH=build/python; "
            "or install the package with `pip install .`"
        )
    built = (folder / "torch_version.txt").read_text().strip()
    if running.split("+")[0] != built.split("+")[0]:
        raise ImportError(
            f"gradwise was built for torch {built}, and torch {running} is running: install that torch, or build "
            "gradwise again with `pip install --no-build-isolation --no-deps --force-reinstall .` in its source folder"
        )
