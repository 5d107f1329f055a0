"""What every operator over a data set takes, checked: its batches, patterns of parameters, a progress callback."""

from collections.abc import Iterable
from typing import Any

import torch


def batches_of(data: Any) -> Iterable[Any]:
    if isinstance(data, (tuple, list)) and len(data) == 2 and isinstance(data[1], torch.Tensor):
        return [tuple(data)]
    if isinstance(data, (torch.Tensor, str)) or not isinstance(data, Iterable):
        raise TypeError(f"data is a {type(data).__name__}, allowed: a batch (x, y), or an iterable of batches")
    return data


def patterns_of(parameters: Any) -> list[str]:
    if isinstance(parameters, str):
        raise TypeError(f"parameters is {parameters!r}, allowed: a list of patterns")
    return list(parameters or [])


def check_progress(progress: object) -> None:
    if progress is not None and not callable(progress):
        raise TypeError(f"progress is {progress!r}, allowed: a callable of (batches done, batches)")
