"""Where tensors wait that backward needs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from . import _core


@contextmanager
def saved_tensors(
    where: Literal["host", "disk", "bfloat16", "lossless"],
    folder: str | os.PathLike[str] | None = None,
    smallest: int = 1024,
) -> Iterator[None]:
    """While the context lasts, what operators save for backward in this thread is kept in another place, once however
    many of them save it. Small tensors (less than `smallest` bytes), parameters and views of them stay where they are.

        with gradwise.saved_tensors("bfloat16"):
            loss = loss_function(model(x), y)
        loss.backward()

    Parameters
    ----------
    where : {"host", "disk", "bfloat16", "lossless"}
        "host": in the host's memory; those of the CPU stay, so that nothing changes for a training there. "disk": in
        files of a folder of this process's own under `folder`, which go with the graph. "bfloat16": as bfloat16, half
        or a quarter of the memory, with a relative error of about 2^-9 in what gradients are computed from. "lossless":
        compressed by zlib. Gradients of all but bfloat16 are the same to the bit.
    folder : path
        Of "disk" alone.
    smallest : int
        Bytes.
    """
    with _core.SavedTensors(where, None if folder is None else os.fspath(folder), smallest):
        yield
