"""Gradient checkpointing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

from . import _core
from ._documented import documented_by

_CHECKS = {"default": True, "none": False, True: True, False: False}


@documented_by(_core.checkpoint)
def checkpoint(function: Callable[..., Any], *args: Any, use_reentrant: bool = False, preserve_rng_state: bool = True,
               determinism_check: bool | str = "default", early_stop: bool = True, **kwargs: Any) -> Any:  # fmt: skip
    """Gives `function(*args, **kwargs)`.

    Parameters
    ----------
    function : callable
        Makes the same tensors each time. What it gives comes back as it is, of any type.
    *args, **kwargs
        Anything. The tensors among them, inside of lists, tuples, named tuples and dicts too, are kept as an operator
        keeps its inputs: a checkpoint around this one drops them. Those that other objects hold are captured ones,
        which stay in memory.
    use_reentrant : bool
        As in torch; only False is there.
    preserve_rng_state : bool
        The second time has the random state of the first: dropout is the same.
    determinism_check : {"default", "none"} or bool
        A `GradwiseError` in backward where tensors differ in shape, type, device or number the second time.
    early_stop : bool
        The second time ends where the last tensor that is needed is there.

    Gradients are those of `function(*args, **kwargs)` to the bit. As
    `torch.utils.checkpoint.checkpoint(use_reentrant=False)` it nests, and works with captured parameters, autocast,
    `torch.autograd.grad`, kept graphs and double backward.
    """
    if not callable(function):
        raise TypeError(f"function is {function!r}, allowed: a callable")
    if use_reentrant:
        raise ValueError(f"use_reentrant is {use_reentrant!r}, allowed: False")
    if determinism_check not in _CHECKS:
        raise ValueError(f"determinism_check is {determinism_check!r}, allowed: 'default', 'none', True, False")
    leaves, structure = tree_flatten((args, kwargs))
    places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
    tensors = [leaves[place] for place in places]
    others = [None if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
    given: tuple[Any, Any] | None = (args, kwargs)  # for the first time, which may change what is in them
    result = None

    def of_tensors(*inputs: torch.Tensor) -> tuple[()]:
        nonlocal result
        if given is not None:
            result = function(*given[0], **given[1])
            return ()
        again = list(others)
        for place, tensor in zip(places, inputs, strict=True):
            again[place] = tensor
        again_args, again_kwargs = tree_unflatten(again, structure)
        function(*again_args, **again_kwargs)
        return ()

    _core.checkpoint(of_tensors, tensors, preserve_rng_state, early_stop, _CHECKS[determinism_check])
    # The graph of the result holds this function: it must not hold the result, or the tensors that went in.
    given, outcome, result = None, result, None
    return outcome
