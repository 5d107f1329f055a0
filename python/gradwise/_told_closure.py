"""Optimizers that take a closure: gradients come while they step."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from ._forward_hook import aside

if TYPE_CHECKING:
    from .watching import Watch


def telling(watch: Watch, optimizer: torch.optim.Optimizer, closure: Callable[[], Any]) -> Callable[[], Any]:
    """The closure; its first call begins the optimizer's step."""
    if id(optimizer) in watch._seen:  # its last step ended by an exception, or another did not step this time
        watch._end_updates()
    if not watch._seen:
        watch._finish()

    def told() -> Any:
        if id(optimizer) in watch._seen:  # the batch once more, which counts once: part of the update
            try:
                with aside():
                    return closure()
            finally:
                watch._native.drop_gradients()
        result = closure()
        if not watch._native.closed:
            watch._begin_update(optimizer)
        return result

    return told
