"""Packages that only some calls need, imported by those calls."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from .errors import GradwiseImportError


def need(what: str, *modules: str, package: str) -> Any:
    """The first of `modules` that is imported already, else the first that can be; `what` needs it."""
    for name in modules:
        if (found := sys.modules.get(name)) is not None:
            return found
    for name in modules:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            # A module that is there and lacks another one is to say so itself.
            if error.name is None or error.name.partition(".")[0] != name.partition(".")[0]:
                raise
    raise GradwiseImportError(f"{what} needs {package}, which is not installed: pip install {package}")
