"""Gradient checkpointing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from . import _core
from ._documented import documented_by


@documented_by(_core.checkpoint)
def checkpoint(function: Callable[..., Any], *args: Any, preserve_random_state: bool = True, early_stop: bool = True,
               determinism_check: bool = True) -> Any:  # fmt: skip
    """Gives `function(*args)`.

    Parameters
    ----------
    function : callable
        Gives a tensor, or a tuple or list of tensors, and makes the same tensors each time.
    *args
        Tensors, and what else it takes; tensors inside of lists or dicts count as captured ones, which stay in memory.
    preserve_random_state : bool
        The second time has the random state of the first: dropout is the same.
    early_stop : bool
        The second time ends where the last tensor that is needed is there.
    determinism_check : bool
        A `GradwiseError` in backward where tensors differ in shape, type or number the second time.

    A list or a named tuple of tensors comes back as a tuple. Gradients are those of `function(*args)` to the bit. As
    `torch.utils.checkpoint.checkpoint(use_reentrant=False)` it nests, and works with captured parameters, autocast,
    `torch.autograd.grad`, kept graphs and double backward.
    """
    if not callable(function):
        raise TypeError(f"function is {function!r}, allowed: a callable")
    places = [place for place, value in enumerate(args) if isinstance(value, torch.Tensor)]
    others = [None if isinstance(value, torch.Tensor) else value for value in args]
    one_tensor = False

    def of_tensors(*tensors: torch.Tensor) -> Any:
        nonlocal one_tensor
        given = list(others)
        for place, tensor in zip(places, tensors, strict=True):
            given[place] = tensor
        result = function(*given)
        one_tensor = isinstance(result, torch.Tensor)
        return result

    inputs = [args[place] for place in places]
    outputs = _core.checkpoint(of_tensors, inputs, preserve_random_state, early_stop, determinism_check)
    return outputs[0] if one_tensor else tuple(outputs)
