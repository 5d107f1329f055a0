"""What the core would refuse with less of a word."""

from __future__ import annotations

from typing import Any

import torch


def check_tensors(**values: Any) -> None:
    """A TypeError for the first that is no tensor."""
    for name, value in values.items():
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"{name} is a {type(value).__name__}, allowed: torch.Tensor")


def check_number(**values: Any) -> None:
    """A TypeError for the first that is no real number."""
    for name, value in values.items():
        if not hasattr(value, "__float__") and not hasattr(value, "__index__"):
            raise TypeError(f"{name} is {value!r}, allowed: a number")


def check_int(**values: Any) -> None:
    """A TypeError for the first that is no whole number."""
    for name, value in values.items():
        if not hasattr(value, "__index__"):
            raise TypeError(f"{name} is {value!r}, allowed: an int")
