"""Hooks on a module, and where a NaN came from."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Callable, Iterator, Mapping, Sequence
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

    Of a layer that gives a tuple, a list or a dict, the first tensor has the layer's name and the others say where they
    were: "lstm", "lstm[1][0]". A model that is itself one layer goes by its class, "Linear". "*" stands for the layers,
    and for modules of several layers whose output is no tensor; any other pattern that matches a module of several
    layers has its output as well.
    """

    def __init__(self, model: torch.nn.Module, patterns: Sequence[str] = ("*",), parameter_gradients: bool = True,
                 activations: bool = True, activation_gradients: bool = True,
                 keep_tensors: bool = False) -> None:  # fmt: skip
        asked = [patterns] if isinstance(patterns, str) else list(patterns)
        _check_patterns(model, asked)
        native = _core.AutogradHooks(
            model,
            {
                "patterns": asked,
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
                whole = next(part.children(), None) is None or any(_matches(name, p) for p in asked if p.strip("*"))
                if whole or "*" in asked:
                    hook = ForwardHook(partial(_observe, native, name or type(part).__name__, whole))
                    self._handles.append(part.register_forward_hook(hook))

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


def _check_patterns(model: torch.nn.Module, patterns: Sequence[str]) -> None:
    """A ValueError for the first that no parameter and no layer matches."""
    if not isinstance(model, torch.nn.Module):
        return
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    names += [name or type(layer).__name__ for name, layer in model.named_modules()]
    for pattern in (one for one in patterns if isinstance(one, str)):  # the core refuses what is none
        layer = pattern.partition("[")[0]  # of an output that is a tuple: "lstm[0]", "lstm?0?"
        begins = layer.partition("?")[0]
        if not any(_matches(name, pattern) or _matches(name, layer) or name == begins for name in names):
            nearest = difflib.get_close_matches(pattern, names, 1)
            hint = f'; did you mean "{nearest[0]}"?' if nearest else f", allowed: names as {names[0]}, with * and ?"
            raise ValueError(f'patterns: no parameter and no layer matches "{pattern}"{hint}')


def _matches(name: str, pattern: str) -> bool:
    """As the core's: * and ? alone."""
    return fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))


def _tensors(output: Any, place: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors within an output, each with its place."""
    if isinstance(output, torch.Tensor):
        yield place, output
    elif isinstance(output, Mapping):
        for key, part in output.items():
            yield from _tensors(part, f"{place}[{key}]")
    elif isinstance(output, (tuple, list)):
        for index, part in enumerate(output):
            yield from _tensors(part, f"{place}[{index}]")


def _observe(native: Any, name: str, whole: bool, _module: torch.nn.Module, _inputs: Any, output: Any) -> None:
    """`whole`: also where the output is a tensor."""
    if isinstance(output, torch.Tensor):
        if whole:
            native.observe(name, output)
        return
    for index, (place, tensor) in enumerate(_tensors(output)):
        native.observe(name + place if index else name, tensor)


@documented_by(_core.find_nonfinite)
def find_nonfinite(model: torch.nn.Module, loss_function: Loss, input_data: torch.Tensor,
                   target_data: torch.Tensor) -> Record | None:  # fmt: skip
    """Gives `phase`, `op`, `layer`, `inputs`, `output`, `message`, `advice`; None where loss and gradients are
    finite."""
    check_tensors(input_data=input_data, target_data=target_data)
    found = _core.find_nonfinite(model, loss_function, input_data, target_data)
    return None if found is None else record(found)
