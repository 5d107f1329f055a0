"""Averaged weights."""

from __future__ import annotations

import contextlib
import copy
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from . import _core

Tensors = list[torch.Tensor]


def _check_decay(decay: float) -> None:
    if not 0.0 <= decay <= 1.0:
        raise ValueError("Decay must be between 0 and 1")


def _check_every(every: int) -> None:
    if every < 1:
        raise ValueError(f"every is {every}, allowed: >= 1")


def _existing(references: list[weakref.ref[torch.Tensor]]) -> Tensors | None:
    """What they refer to; None where one of them is gone."""
    tensors = [found for reference in references if (found := reference()) is not None]
    return tensors if len(tensors) == len(references) else None


def _clones(tensors: Iterable[torch.Tensor]) -> Tensors:
    return [tensor.detach().clone() for tensor in tensors]


def _write(targets: Iterable[torch.Tensor], values: Iterable[torch.Tensor]) -> None:
    for target, value in zip(targets, values, strict=False):  # of buffers there may be no values
        target.data.copy_(value)  # a graph that holds the tensor can still go backward once it is restored


def _moved(tensors: Tensors, device: Any, dtype: torch.dtype | None) -> Tensors:
    return [t.to(device=device, dtype=dtype if t.is_floating_point() else None) for t in tensors]


def _loaded(name: str, given: Tensors, targets: Tensors | None) -> Tensors:
    """Copies, in the types and on the devices of `targets` where these exist."""
    if targets is None:
        return _clones(given)
    for value, target in zip(given, targets, strict=True):
        if value.shape != target.shape:
            raise ValueError(f"the state has {name} of shape {tuple(value.shape)} for one of {tuple(target.shape)}")
    return [t.to(target) for t, target in zip(_clones(given), targets, strict=True)]


class ExponentialMovingAverage:
    """Exponential moving average of parameters and, if given, buffers: shadow <- decay · shadow + (1 - decay) ·
    parameter, after every optimizer step. The interface is that of the package torch_ema.

    ema = ExponentialMovingAverage(model.parameters(), decay=0.995)
    ...; optimizer.step(); ema.update()
    with ema.average_parameters():
        validate(model)

    `use_num_updates` warms up: decay is min(decay, (1 + n) / (10 + n)) in update n. `decay`, `num_updates` (None
    without warm-up), `shadow_params` and `collected_params` may be assigned. Parameters that ask for no gradient are
    averaged as well. The model is not kept alive. Of a module given in place of its parameters, `use_buffers=True`
    averages the floating-point buffers too and copies the others. With `every` = k each k-th call of `update` moves the
    averages.
    """

    def __init__(self, parameters: Iterable[torch.Tensor] | torch.nn.Module, decay: float = 0.995,
                 use_num_updates: bool = True, use_buffers: bool = False, *, every: int = 1) -> None:  # fmt: skip
        _check_decay(decay)
        _check_every(every)
        buffers: Tensors = []
        if isinstance(parameters, torch.nn.Module):
            buffers = list(parameters.buffers()) if use_buffers else []
            parameters = parameters.parameters()
        self.decay = decay
        self.every = every
        self._since_update = 0
        self.num_updates: int | None = 0 if use_num_updates else None
        targets = list(parameters)
        self._refer_to(targets, buffers)
        self.shadow_params = _clones(targets)
        self.collected_params: Tensors | None = None
        self._shadow_buffers = _clones(buffers)
        self._collected_buffers: Tensors = []

    def _refer_to(self, parameters: Tensors, buffers: Tensors) -> None:
        self._parameters = [weakref.ref(parameter) for parameter in parameters]
        self._buffers = [weakref.ref(buffer) for buffer in buffers]

    def _follow(self, parameters: Iterable[torch.Tensor]) -> None:
        """Averages these from now on; the averages of new ones begin at their present values. What `store` holds is
        dropped where they are others than before."""
        now = list(parameters)
        before = [reference() for reference in self._parameters]
        if [id(p) for p in now] == [id(p) for p in before]:
            return
        averages = {id(p): average for p, average in zip(before, self.shadow_params, strict=True) if p is not None}
        self._parameters = [weakref.ref(parameter) for parameter in now]
        self.shadow_params = [averages[id(p)] if id(p) in averages else p.detach().clone() for p in now]
        self.collected_params = None

    def __deepcopy__(self, memo: dict[int, Any]) -> ExponentialMovingAverage:
        """Of parameters that are copied along it averages the copies, else the same ones."""
        made = memo[id(self)] = object.__new__(type(self))
        for name, value in self.__dict__.items():
            references = name in ("_parameters", "_buffers")
            setattr(made, name, list(value) if references else copy.deepcopy(value, memo))
        for name in ("_parameters", "_buffers"):
            found = [reference() for reference in getattr(self, name)]
            if all(tensor is not None for tensor in found):
                setattr(made, name, [weakref.ref(memo.get(id(tensor), tensor)) for tensor in found])
        return made

    def __getstate__(self) -> dict[str, Any]:
        kept = {"parameters": _existing(self._parameters), "buffers": _existing(self._buffers)}
        return kept | {"state": self.state_dict(), "collected_buffers": self._collected_buffers}

    def __setstate__(self, state: dict[str, Any]) -> None:
        saved = state["state"]
        gone = [[torch.empty(0) for _ in saved[name]] for name in ("shadow_params", "shadow_buffers")]
        self._refer_to(state["parameters"] or gone[0], state["buffers"] or gone[1])
        self.decay, self.num_updates = saved["decay"], saved["num_updates"]
        self.every, self._since_update = saved["every"], saved["steps_since_update"]
        self.shadow_params, self.collected_params = saved["shadow_params"], saved["collected_params"]
        self._shadow_buffers, self._collected_buffers = saved["shadow_buffers"], state["collected_buffers"]

    def _own(self, references: list[weakref.ref[torch.Tensor]]) -> Tensors:
        found = _existing(references)
        if found is None:
            raise ValueError(
                "(One of) the parameters with which this ExponentialMovingAverage was initialized no longer exists "
                "(was garbage collected); please either provide `parameters` explicitly or keep the model to which "
                "they belong from being garbage collected."
            )
        return found

    def _buffer_targets(self, parameters: object) -> Tensors:
        return self._own(self._buffers) if parameters is None else []

    def _targets(self, parameters: Iterable[torch.Tensor] | None) -> Tensors:
        if parameters is None:
            return self._own(self._parameters)
        given = list(parameters)
        if len(given) != len(self.shadow_params):
            raise ValueError(
                "Number of parameters passed as argument is different from number of shadow parameters maintained by "
                "this ExponentialMovingAverage"
            )
        return given

    def _share(self) -> float | None:
        """Of the parameters in the average, for an update that begins; None where its turn has not come."""
        self._since_update += 1
        if self._since_update < self.every:
            return None
        self._since_update = 0
        warm_up = self.num_updates is not None
        self.num_updates = None if self.num_updates is None else self.num_updates + 1
        return 1.0 - _core.average_decay(self.decay, warm_up, self.num_updates or 0)

    def _ride(self) -> tuple[Tensors, Tensors, float]:
        """Begins an update that an optimizer makes in its own pass: parameters, their averages, share."""
        return self._targets(None), self.shadow_params, self._share() or 0.0

    def update(self, parameters: Iterable[torch.Tensor] | None = None) -> None:
        """Moves the averages, towards the parameters or others that are given in their place."""
        targets = self._targets(parameters)
        share = self._share()
        if share is None:
            return
        _core.move_averages(self.shadow_params, targets, share)
        buffers = list(zip(self._shadow_buffers, _existing(self._buffers) or [], strict=False))
        floating = [pair for pair in buffers if pair[1].is_floating_point()]
        _core.move_averages([average for average, _ in floating], [buffer for _, buffer in floating], share)
        for count, buffer in buffers:
            if not buffer.is_floating_point():
                count.copy_(buffer)

    def copy_to(self, parameters: Iterable[torch.Tensor] | None = None) -> None:
        _write(self._targets(parameters), self.shadow_params)
        _write(self._buffer_targets(parameters), self._shadow_buffers)

    def store(self, parameters: Iterable[torch.Tensor] | None = None) -> None:
        self.collected_params = _clones(self._targets(parameters))
        self._collected_buffers = _clones(self._buffer_targets(parameters))

    def restore(self, parameters: Iterable[torch.Tensor] | None = None) -> None:
        if self.collected_params is None:
            raise RuntimeError("This ExponentialMovingAverage has no `store()`ed weights to `restore()`")
        _write(self._targets(parameters), self.collected_params)
        _write(self._buffer_targets(parameters), self._collected_buffers)

    @contextlib.contextmanager
    def average_parameters(self, parameters: Iterable[torch.Tensor] | None = None) -> Iterator[None]:
        """The averages in the parameters' place for a scope; what `store` holds stays."""
        targets = None if parameters is None else list(parameters)
        kept = self.collected_params, self._collected_buffers
        self.store(targets)
        self.copy_to(targets)
        try:
            yield
        finally:
            self.restore(targets)
            self.collected_params, self._collected_buffers = kept

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> None:
        """Moves the averages and what `store` holds."""
        self.shadow_params = _moved(self.shadow_params, device, dtype)
        self._shadow_buffers = _moved(self._shadow_buffers, device, dtype)
        self._collected_buffers = _moved(self._collected_buffers, device, dtype)
        if self.collected_params is not None:
            self.collected_params = _moved(self.collected_params, device, dtype)

    def state_dict(self) -> dict[str, Any]:
        return {
            "decay": self.decay,
            "num_updates": self.num_updates,
            "shadow_params": _clones(self.shadow_params),
            "shadow_buffers": _clones(self._shadow_buffers),
            "collected_params": self.collected_params,
            "every": self.every,
            "steps_since_update": self._since_update,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes a state of this class or of torch_ema's."""
        _check_decay(state_dict["decay"])
        updates = state_dict["num_updates"]
        if updates is not None and not isinstance(updates, int):
            raise TypeError(f"num_updates is {updates!r}, allowed: an int, or None for no warm-up")
        every = state_dict.get("every", self.every)
        _check_every(every)
        found: dict[str, Tensors] = {}
        for name in ("shadow_params", "collected_params", "shadow_buffers"):
            given = state_dict.get(name)
            if given is None and name != "shadow_params" or given == [] and name == "shadow_buffers":
                continue
            if not isinstance(given, list) or not all(isinstance(tensor, torch.Tensor) for tensor in given):
                raise TypeError(f"{name} is a {type(given).__name__}, allowed: a list of torch.Tensor")
            references = self._buffers if name == "shadow_buffers" else self._parameters
            if len(given) != len(references):
                raise ValueError(f"the state has {len(given)} {name}, allowed: {len(references)}")
            found[name] = _loaded(name, given, _existing(references))
        self.decay, self.num_updates = state_dict["decay"], updates
        self.every, self._since_update = every, state_dict.get("steps_since_update", 0)
        self.shadow_params, self.collected_params = found["shadow_params"], found.get("collected_params")
        self._shadow_buffers = found.get("shadow_buffers", self._shadow_buffers)
