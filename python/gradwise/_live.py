"""The watches that are attached: one a model, none of them in a forked process, all ended with the interpreter."""

from __future__ import annotations

import atexit
import ctypes
import os
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .watching import Watch

_live: weakref.WeakSet[Watch] = weakref.WeakSet()
_lock = threading.RLock()


def add_live(watch: Watch) -> None:
    with _lock:
        _live.add(watch)


def live() -> list[Watch]:
    with _lock:
        return [watch for watch in _live if not watch.detached]


def watching(model: Any) -> Watch | None:
    """The one that is attached to the model."""
    return next((watch for watch in live() if watch._model is model), None)


class _Parents:
    """In a forked process, in place of the core's part of a watch."""

    closed = True

    def __init__(self, native: Any) -> None:
        self.steps = native.steps
        self._readings: dict[str, Any] = native.readings()
        self._last_step: dict[str, Any] = native.last_step()

    def readings(self) -> dict[str, Any]:
        return self._readings

    def last_step(self) -> dict[str, Any]:
        return self._last_step


def _leave_to_parent() -> None:
    global _lock
    _lock = threading.RLock()  # another thread of the parent's may have held the old one
    for watch in live():
        # Never destroyed: the core's part would wait for the thread that writes the run, which the parent has alone.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(watch._native))
        watch._leave_to_parent(_Parents(watch._native))


def status_of(error: BaseException | None) -> str:
    """Of a run that ends by this."""
    return "finished" if error is None else "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"


def ending() -> tuple[str, str]:
    """Status and reason of a run that ends now, with the program or before."""
    interactive = hasattr(sys, "ps1")  # where an error does not end the program
    error = None if interactive else getattr(sys, "last_value", None)
    return status_of(error), "" if error is None else f"{type(error).__name__}: {error}"


def _end_collected(native: Any) -> None:
    if native.closed:
        return
    try:
        native.finish(None)
    finally:
        native.close("finished", "its watch was collected")


def end_with(watch: Watch, native: Any) -> weakref.finalize[[Any], Watch]:
    """Has a run end with its watch, where the watch is collected before it is detached."""
    finalizer = weakref.finalize(watch, _end_collected, native)
    finalizer.atexit = False
    return finalizer


def _end() -> None:
    for watch in live():
        watch.detach(*ending())


atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)
