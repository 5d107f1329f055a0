"""Gradient checkpointing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

from . import _core
from ._checks import check_int, check_tensors
from ._documented import documented_by
from ._records import Record, record

_MEBIBYTE = 2**20
_CHECKS = {"default": True, "none": False, True: True, False: False}

Stages = torch.nn.Sequential | Iterable[Callable[[torch.Tensor], torch.Tensor]]


def _options(
    use_reentrant: bool, preserve_rng_state: bool, determinism_check: bool | str, early_stop: bool
) -> _core.RecomputeOptions:
    if determinism_check not in _CHECKS:
        raise ValueError(f"determinism_check is {determinism_check!r}, allowed: 'default', 'none', True, False")
    return _core.RecomputeOptions(use_reentrant, preserve_rng_state, early_stop, _CHECKS[determinism_check])


class _Call:
    """The arguments of a call, of which the tensors can be put anew."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        leaves, self.structure = tree_flatten((args, kwargs))
        self.places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
        self.others = [None if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]

    def tensors_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[torch.Tensor]:
        leaves = tree_flatten((args, kwargs))[0]
        return [leaves[place] for place in self.places]

    def with_tensors(self, tensors: Iterable[torch.Tensor]) -> Any:
        leaves = list(self.others)
        for place, tensor in zip(self.places, tensors, strict=True):
            leaves[place] = tensor
        return tree_unflatten(leaves, self.structure)


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
        The older form, a backward pass inside of backward. One of the tensors has to ask for a gradient, tensors of
        the result come back as new ones, and it serves plain `backward()` alone; the two options that follow play no
        part.
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
    options = _options(use_reentrant, preserve_rng_state, determinism_check, early_stop)
    call = _Call(args, kwargs)
    tensors = call.tensors_of(args, kwargs)
    if use_reentrant:
        return _reentrant(function, call, tensors, options)
    given: tuple[Any, Any] | None = (args, kwargs)  # for the first time, which may change what is in them
    result = None

    def of_tensors(*inputs: torch.Tensor) -> tuple[()]:
        nonlocal result
        if given is not None:
            result = function(*given[0], **given[1])
            return ()
        again_args, again_kwargs = call.with_tensors(inputs)
        function(*again_args, **again_kwargs)
        return ()

    _core.checkpoint(of_tensors, tensors, options)
    # The graph of the result holds this function: it must not hold the result, or the tensors that went in.
    given, outcome, result = None, result, None
    return outcome


def _reentrant(
    function: Callable[..., Any], call: _Call, tensors: list[torch.Tensor], options: _core.RecomputeOptions
) -> Any:
    form: _Call | None = None  # of the result, which goes through the graph as its tensors

    def of_tensors(*inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        nonlocal form
        args, kwargs = call.with_tensors(inputs)
        result = (function(*args, **kwargs),)
        form = _Call(result, {})
        return tuple(form.tensors_of(result, {}))

    found = _core.checkpoint(of_tensors, tensors, options)
    assert form is not None
    return form.with_tensors(found)[0][0]


def _as_list(name: str, functions: Stages) -> list[Callable[[torch.Tensor], torch.Tensor]]:
    try:
        stages: list[Any] = list(functions)
    except TypeError:
        kind = type(functions).__name__
        raise TypeError(f"{name} is a {kind}, allowed: a torch.nn.Sequential, or callables of a tensor") from None
    for i, stage in enumerate(stages):
        if not callable(stage):
            raise TypeError(f"stage {i} is {stage!r}, allowed: a callable of a tensor")
    return stages


@documented_by(_core.checkpoint_sequential)
def checkpoint_sequential(functions: Stages, segments: int, input: torch.Tensor, use_reentrant: bool = False,
                          preserve_rng_state: bool = True, determinism_check: bool | str = "default",
                          early_stop: bool = True) -> torch.Tensor:  # fmt: skip
    """`functions`: a `torch.nn.Sequential`, or callables of a tensor that give one. The other options are those of
    `checkpoint`."""
    check_tensors(input=input)
    check_int(segments=segments)
    options = _options(use_reentrant, preserve_rng_state, determinism_check, early_stop)
    return _core.checkpoint_sequential(_as_list("functions", functions), segments, input, options)


class CheckpointPlan:
    """The schedule of least time within a budget, of `plan_checkpoints`; it runs its stages: `plan(input)`.

    `schedule`: parts in their order, from stage `first` to before stage `stop`. Where `again` is empty the stage keeps
    what its backward needs; else the part keeps its input alone, and is run by the parts in `again` when backward comes
    to it. `seconds`: foretold of forward and backward; `least_seconds`: where everything is kept; `peak_bytes`:
    foretold of activations and their gradients, within `memory_budget`. `stages`: their measured times and bytes.
    """

    def __init__(self, native: _core.PlannedStages, memory_budget: int) -> None:
        self._native = native
        self.memory_budget = memory_budget
        self.schedule: list[Record] = [record(part) for part in native.schedule()]
        self.stages: list[Record] = [record(stage) for stage in native.stages()]
        self.seconds = native.seconds()
        self.least_seconds = native.least_seconds()
        self.peak_bytes = native.peak_bytes()

    def __repr__(self) -> str:
        again = sum(part.stop - part.first for part in self.schedule if part.again)
        return (
            f"<gradwise.CheckpointPlan: {again} of {len(self.stages)} stages recomputed, peak "
            f"{self.peak_bytes / _MEBIBYTE:.4g} of {self.memory_budget / _MEBIBYTE:.4g} MiB, "
            f"{self.seconds / self.least_seconds:.3g} times the time of keeping everything>"
        )

    def run(self, input: torch.Tensor, preserve_rng_state: bool = True, determinism_check: bool | str = "default",
            early_stop: bool = True) -> torch.Tensor:  # fmt: skip
        """The stages' result. Gradients are those of the plain chain to the bit. Options as of `checkpoint`."""
        check_tensors(input=input)
        return self._native.run(input, _options(False, preserve_rng_state, determinism_check, early_stop))

    __call__ = run


@documented_by(_core.plan_checkpoints)
def plan_checkpoints(
    stages: Stages, input: torch.Tensor, memory_budget: int, slots: int = 500, repeats: int = 3
) -> CheckpointPlan:
    """`stages`: a `torch.nn.Sequential`, or callables of a tensor that give one. Buffers of those that are modules are
    put back. `slots`: parts of the budget in which bytes are counted; `repeats`: runs of each stage, for its times."""
    check_tensors(input=input)
    check_int(memory_budget=memory_budget, slots=slots, repeats=repeats)
    functions = _as_list("stages", stages)
    modules = [(i, stage) for i, stage in enumerate(functions) if isinstance(stage, torch.nn.Module)]
    buffers = {f"{i}.{name}": buffer for i, module in modules for name, buffer in module.named_buffers()}
    native = _core.plan_checkpoints(
        functions, input, memory_budget, slots, repeats, list(buffers), list(buffers.values())
    )
    return CheckpointPlan(native, memory_budget)
