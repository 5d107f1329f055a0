"""Hooks on a module, and where a NaN came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from . import _core
from ._checks import check_tensors
from ._documented import documented_by
from ._forward_hook import ForwardHook
from ._records import Record, record

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@documented_by(_core.AutogradHooks)
class AutogradHooks:
    """Figures, or tensors, by name pattern.

    with AutogradHooks(model, patterns=["encoder.*"]) as hooks:
        loss_function(model(x), y).backward()
    for seen in hooks.records(): print(seen.name, seen.norm)
    """

    def __init__(self, model: torch.nn.Module, patterns: Sequence[str] = ("*",), parameter_gradients: bool = True,
                 activations: bool = True, activation_gradients: bool = True,
                 keep_tensors: bool = False) -> None:  # fmt: skip
        native = _core.AutogradHooks(
            model,
            {
                "patterns": [patterns] if isinstance(patterns, str) else list(patterns),
                "parameter_gradients": parameter_gradients,
                "activations": activations,
                "activation_gradients": activation_gradients,
                "keep_tensors": keep_tensors,
            },
        )
        self._native = native
        self._handles = []
        if activations or activation_gradients:
            for name, part in model.named_modules():
                if name and not any(part.children()):
                    self._handles.append(part.register_forward_hook(ForwardHook(partial(_observe, native, name))))

    def records(self) -> list[Record]:
        return [record(seen) for seen in self._native.records()]

    def clear(self) -> None:
        self._native.clear()

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._native.remove()

    def __enter__(self) -> AutogradHooks:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def _observe(native: Any, name: str, _module: torch.nn.Module, _inputs: Any, output: Any) -> None:
    if isinstance(output, torch.Tensor):
        native.observe(name, output)


@documented_by(_core.find_nonfinite)
def find_nonfinite(model: torch.nn.Module, loss_function: Loss, input_data: torch.Tensor,
                   target_data: torch.Tensor) -> Record | None:  # fmt: skip
    """Gives `phase`, `op`, `layer`, `inputs`, `output`, `message`, `advice`. None where loss and gradients are finite."""
    check_tensors(input_data=input_data, target_data=target_data)
    found = _core.find_nonfinite(model, loss_function, input_data, target_data)
    return None if found is None else record(found)
