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
    """A TypeError for the first that is no real number, a ValueError for the first tensor or array that holds none, or
    several."""
    for name, value in values.items():
        if not hasattr(value, "__float__") and not hasattr(value, "__index__"):
            raise TypeError(f"{name} is {value!r}, allowed: a number")
        elements = value.numel() if isinstance(value, torch.Tensor) else getattr(value, "size", 1)
        if elements != 1:
            raise ValueError(f"{name} is of shape {tuple(value.shape)}, allowed: a number, or a tensor of one element")
        if isinstance(value, torch.Tensor) and value.is_complex():
            raise ValueError(f"{name} is {value.item()}, allowed: a real number")


def check_int(**values: Any) -> None:
    """A TypeError for the first that is no whole number."""
    for name, value in values.items():
        if not hasattr(value, "__index__"):
            raise TypeError(f"{name} is {value!r}, allowed: an int")
