"""What the core would refuse with less of a word."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch


def check_tensors(**values: Any) -> None:
    """A TypeError for the first that is no tensor."""
    for name, value in values.items():
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"{name} is a {type(value).__name__}, allowed: torch.Tensor")


def check_number(**values: Any) -> None:
    """A TypeError for the first that is no real number, a ValueError for the first tensor or array that holds none, or
    several, or whose elements are nowhere."""
    for name, value in values.items():
        if not hasattr(value, "__float__") and not hasattr(value, "__index__"):
            raise TypeError(f"{name} is {value!r}, allowed: a number")
        elements = value.numel() if isinstance(value, torch.Tensor) else getattr(value, "size", 1)
        if elements != 1:
            raise ValueError(f"{name} is of shape {tuple(value.shape)}, allowed: a number, or a tensor of one element")
        if isinstance(value, torch.Tensor) and value.is_meta:
            raise ValueError(f"{name} is on the device meta, allowed: one that holds numbers")
        if isinstance(value, torch.Tensor) and value.is_complex():
            raise ValueError(f"{name} is {value.item()}, allowed: a real number")


def check_mapping(**values: Any) -> None:
    """A TypeError for the first that is no dict."""
    for name, value in values.items():
        if not isinstance(value, Mapping):
            raise TypeError(f"{name} is {value!r}, allowed: a dict")


def check_int(**values: Any) -> None:
    """A TypeError for the first that is no whole number."""
    for name, value in values.items():
        if not hasattr(value, "__index__"):
            raise TypeError(f"{name} is {value!r}, allowed: an int")


def path_of(name: str, value: Any) -> str:
    """A TypeError for what is no path."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} is {value!r}, allowed: a str or a path")
    if not os.fspath(value):
        raise ValueError(f"{name} is '', allowed: a path")
    return os.fspath(value)


def check_axes(ax: Any) -> None:
    """A TypeError for what is neither matplotlib's axes nor None."""
    if ax is not None and not (hasattr(ax, "plot") and hasattr(ax, "set_title")):
        raise TypeError(f"ax is {ax!r}, allowed: matplotlib's Axes, or None for axes of its own")


def checked_device(device: Any) -> torch.device:
    """As torch has it; a TypeError for what names no device, a ValueError for one that is not there."""
    if not isinstance(device, (str, int, torch.device)) or isinstance(device, bool):
        raise TypeError(f"device is {device!r}, allowed: a str or a torch.device")
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    count = torch.accelerator.device_count() if accelerator is not None else 0
    there = ["cpu"] if accelerator is None else ["cpu", accelerator.type]
    try:
        found = torch.device(device)
    except RuntimeError:  # no device's name
        found = torch.device("meta")
    if found.type not in there or (found.type != "cpu" and (found.index or 0) >= count):
        numbered = [f"{there[-1]}:{index}" for index in range(count)]
        given = repr(str(device)) if isinstance(device, torch.device) else repr(device)
        raise ValueError(f"device is {given}, allowed: {', '.join([*there, *numbered])}, which are there")
    return found


def with_keywords(error: str, options: Iterable[str], keywords: Sequence[str]) -> str:
    """What the core says of an option that it does not know, where the call has `keywords` beside the core's."""
    told, _, allowed = error.partition(", allowed: ")
    unknown = next((name for name in options if told.endswith(f"] there is no option {name}")), None)
    if unknown is None:
        return error
    nearest = difflib.get_close_matches(unknown, keywords, 1)
    return f'{told}; did you mean "{nearest[0]}"?' if nearest else f"{told}, allowed: {', '.join(keywords)}, {allowed}"
