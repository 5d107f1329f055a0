"""Hooks on the forward pass of a model whose training is watched."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from . import _core


@contextlib.contextmanager
def aside() -> Iterator[None]:
    """Forward passes within, of this thread, are none of a training step's."""
    before = _core.set_aside(True)
    try:
        yield
    finally:
        _core.set_aside(before)


class ForwardHook:
    """A hook of a module that a copy or a pickled file of the module does nothing with: such a file can be loaded where
    there is no Gradwise."""

    def __init__(self, call: Callable[..., None]) -> None:
        self._call = call

    def __call__(self, module: torch.nn.Module, *arguments: Any) -> None:
        if not torch.compiler.is_compiling():
            self._call(module, *arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (contextlib.nullcontext(), "__exit__")  # takes anything and gives None


def remove_all(handles: Iterable[Any]) -> None:
    for handle in handles:
        handle.remove()
