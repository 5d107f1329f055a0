"""Samples and wall times of a step that a loop of the user's makes, from hooks on its model."""

from __future__ import annotations

import contextlib
import math
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch

NAN = math.nan


def samples_of(inputs: Any) -> int:
    """The length of the first tensor's first dimension: the batch size by PyTorch's custom; 0 where there is none."""
    if isinstance(inputs, torch.Tensor):
        return int(inputs.shape[0]) if inputs.dim() > 0 else 0
    if isinstance(inputs, Mapping):
        inputs = inputs.values()
    elif not isinstance(inputs, (list, tuple)):
        return 0
    return next((count for item in inputs if (count := samples_of(item)) > 0), 0)


class Phases:
    """Of the step under way. What lies between a forward pass and the optimizer's step, or the next forward pass of the
    same step, counts as backward: the loss function is in it. On a device other than the CPU the times are those of
    handing out the work."""

    def __init__(self) -> None:
        self._step_began = NAN  # the end of the step before; NaN where there was none
        self._clear()

    def _clear(self) -> None:
        self.samples = 0
        self.micro_batches = 0
        self._seconds = {"data": 0.0, "forward": 0.0, "backward": 0.0, "update": 0.0}
        self._forward_began = self._forward_ended = self._update_began = NAN

    def forward_start(self, samples: int) -> None:
        now = time.perf_counter()
        if self.micro_batches == 0:
            if math.isnan(self._step_began):
                self._step_began = now
            self._seconds["data"] = now - self._step_began
        self._to_backward(now)
        self.micro_batches += 1
        self.samples += samples
        self._forward_began = now

    def forward_end(self) -> None:
        now = time.perf_counter()
        if not math.isnan(self._forward_began):
            self._seconds["forward"] += now - self._forward_began
            self._forward_began = NAN
            self._forward_ended = now

    def backward_end(self) -> None:
        self._to_backward(time.perf_counter())

    def _to_backward(self, now: float) -> None:
        if not math.isnan(self._forward_ended):
            self._seconds["backward"] += now - self._forward_ended
            self._forward_ended = NAN

    def update_start(self) -> None:
        self._update_began = time.perf_counter()

    def update_end(self) -> None:
        if not math.isnan(self._update_began):
            self._seconds["update"] += time.perf_counter() - self._update_began
            self._update_began = NAN

    def elsewhere(self) -> None:
        """The loop has validated, say: the wait for the next batch begins anew."""
        if self.micro_batches == 0:
            self._step_began = time.perf_counter()

    def take(self) -> dict[str, Any]:
        """The step's `samples`, `micro_batches` and `seconds`; what was not seen is 0. Begins the next step."""
        now = time.perf_counter()
        seconds = self._seconds | {"total": 0.0 if math.isnan(self._step_began) else now - self._step_began}
        taken = {"samples": self.samples, "micro_batches": max(1, self.micro_batches), "seconds": seconds}
        self._clear()
        self._step_began = now
        return taken


_aside = threading.local()


@contextlib.contextmanager
def aside() -> Iterator[None]:
    """Forward passes within, of this thread, are none of a training step's."""
    before = getattr(_aside, "now", False)
    _aside.now = True
    try:
        yield
    finally:
        _aside.now = before


class ForwardHook:
    """A hook of a module that holds its owner weakly, and that a copy or a pickled file of the module does nothing
    with: such a file can be loaded where there is no Gradwise."""

    def __init__(self, owner: Any, method: str) -> None:
        self._owner = weakref.ref(owner)
        self._method = method

    def __call__(self, module: torch.nn.Module, *arguments: Any) -> None:
        if torch.compiler.is_compiling():
            return
        owner = self._owner()
        if owner is not None and not getattr(_aside, "now", False):
            getattr(owner, self._method)(module, *arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (contextlib.nullcontext(), "__exit__")  # takes anything and gives None


def remove_all(handles: Iterable[Any]) -> None:
    for handle in handles:
        handle.remove()
