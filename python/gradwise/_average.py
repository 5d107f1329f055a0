"""Averaged weights."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from . import _core
from ._documented import documented_by


@documented_by(_core.ExponentialMovingAverage)
class ExponentialMovingAverage:
    """The interface is that of the package torch_ema.

    ema = ExponentialMovingAverage(model.parameters(), decay=0.995)
    ...; optimizer.step(); ema.update()
    with ema.average_parameters():
        validate(model)

    `use_num_updates` warms up: decay is min(decay, (1 + n) / (10 + n)) in update n. With `every` = k each k-th call of
    `update` moves the averages. Of a module given in place of its
    parameters, `use_buffers=True` averages the floating-point buffers too and copies the others.
    """

    def __init__(self, parameters: Iterable[torch.Tensor] | torch.nn.Module, decay: float = 0.995,
                 use_num_updates: bool = True, use_buffers: bool = False, *, every: int = 1) -> None:  # fmt: skip
        if not 0.0 <= decay <= 1.0:
            raise ValueError("Decay must be between 0 and 1")
        buffers: list[torch.Tensor] = []
        if isinstance(parameters, torch.nn.Module):
            buffers = list(parameters.buffers()) if use_buffers else []
            parameters = parameters.parameters()
        self._take([p for p in parameters if p.requires_grad], buffers, float(decay), bool(use_num_updates), every)

    def _take(self, parameters: list[torch.Tensor], buffers: list[torch.Tensor], decay: float, warm_up: bool,
              every: int) -> None:  # fmt: skip
        self._parameters = parameters
        self._buffers = buffers
        # The core lists the averaged buffers before the copied ones.
        floating = [i for i, buffer in enumerate(buffers) if buffer.is_floating_point()]
        self._buffer_order = floating + [i for i in range(len(buffers)) if i not in floating]
        self._native = _core.ExponentialMovingAverage(
            [f"p{i}" for i in range(len(self._parameters))],
            self._parameters,
            [f"b{i}" for i in range(len(buffers))],
            buffers,
            {"decay": decay, "warmup": warm_up, "every": every},
        )
        self._use_num_updates = warm_up
        self._stored: list[torch.Tensor] | None = None

    def _follow(self, parameters: Iterable[torch.Tensor]) -> None:
        """Averages these from now on, of new ones those that ask for a gradient: their averages begin at their present
        values. What `store` holds is dropped."""
        known = {id(p) for p in self._parameters}
        now = [p for p in parameters if p.requires_grad or id(p) in known]
        if not now or [id(p) for p in now] == [id(p) for p in self._parameters]:
            return
        saved = self.state_dict()
        averages = {id(p): average for p, average in zip(self._parameters, saved["shadow_params"], strict=True)}
        converted = {average.dtype for p in self._parameters if (average := averages[id(p)]).dtype != p.dtype}
        self._take(now, self._buffers, self.decay, self._use_num_updates, self._native.every())
        if converted:
            self.to(dtype=converted.pop())
        shadow = [averages.get(id(p), p.detach()) for p in now]
        self.load_state_dict(saved | {"shadow_params": shadow, "collected_params": None})

    def __getstate__(self) -> dict[str, Any]:
        return {
            "parameters": self._parameters,
            "buffers": self._buffers,
            "state": self.state_dict(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        saved = state["state"]
        warm_up = saved["num_updates"] is not None
        self._take(state["parameters"], state["buffers"], saved["decay"], warm_up, saved.get("every", 1))
        self.load_state_dict(saved)

    @property
    def decay(self) -> float:
        return self._native.decay()

    @property
    def num_updates(self) -> int:
        return self._native.num_updates()

    @property
    def shadow_params(self) -> list[torch.Tensor]:
        return self._native.averages()[: len(self._parameters)]

    @property
    def collected_params(self) -> list[torch.Tensor] | None:
        return self._stored

    def _targets(self, parameters: Iterable[torch.Tensor] | None) -> list[torch.Tensor]:
        if parameters is None:
            return [*self._parameters, *(self._buffers[i] for i in self._buffer_order)]
        given = [p for p in parameters if p.requires_grad]
        if len(given) != len(self._parameters):
            raise ValueError(
                "Number of parameters passed as argument is different from number of shadow parameters maintained by "
                "this ExponentialMovingAverage"
            )
        return list(given)

    def update(self, parameters: Iterable[torch.Tensor] | None = None) -> None:
        """Moves the averages, of the parameters or towards others that are given in their place."""
        if parameters is None:
            self._native.update()
            return
        given = self._targets(parameters)
        with torch.no_grad():
            kept = [p.detach().clone() for p in self._parameters]
            for own, other in zip(self._parameters, given, strict=True):
                own.copy_(other)
            try:
                self._native.update()
            finally:
                for own, before in zip(self._parameters, kept, strict=True):
                    own.copy_(before)

    def copy_to(self, parameters: Iterable[torch.Tensor] | None = None) -> None:
        with torch.no_grad():
            for target, average in zip(self._targets(parameters), self._native.averages(), strict=False):
                target.copy_(average)

    def store(self, parameters: Iterable[torch.Tensor] | None = None) -> None:
        self._stored = [p.detach().clone() for p in self._targets(parameters)]

    def restore(self, parameters: Iterable[torch.Tensor] | None = None) -> None:
        if self._stored is None:
            raise RuntimeError("This ExponentialMovingAverage has no `store()`ed weights to `restore()`")
        with torch.no_grad():
            for target, before in zip(self._targets(parameters), self._stored, strict=True):
                target.copy_(before)

    @contextlib.contextmanager
    def average_parameters(self, parameters: Iterable[torch.Tensor] | None = None) -> Iterator[None]:
        """The averages in the parameters' place for a scope; what `store` holds stays."""
        targets = None if parameters is None else list(parameters)
        kept = self._stored
        self.store(targets)
        self.copy_to(targets)
        try:
            yield
        finally:
            self.restore(targets)
            self._stored = kept

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> None:
        if device is not None:
            self._native.to_device(torch.device(device))
        if dtype is not None:
            self._native.to_dtype(dtype)

    def state_dict(self) -> dict[str, Any]:
        values, tensors = self._native.state()
        now = json.loads(values)
        return {
            "decay": now["decay"],
            "num_updates": now["num_updates"] if self._use_num_updates else None,
            "shadow_params": [tensors[f"p{i}"] for i in range(len(self._parameters))],
            "shadow_buffers": [tensors[f"b{i}"] for i in self._buffer_order],
            "collected_params": self._stored,
            "every": now["every"],
            "steps_since_update": now["steps_since_update"],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes a state of this class or of torch_ema's."""
        shadow = list(state_dict["shadow_params"])
        if len(shadow) != len(self._parameters):
            raise ValueError(f"the state has {len(shadow)} shadow_params, there are {len(self._parameters)} parameters")
        values, tensors = self._native.state()
        now = json.loads(values)
        now["decay"] = state_dict["decay"]
        self._use_num_updates = now["warmup"] = state_dict["num_updates"] is not None
        now["num_updates"] = state_dict["num_updates"] or 0
        now["every"] = state_dict.get("every", now["every"])
        now["steps_since_update"] = state_dict.get("steps_since_update", 0)
        tensors |= {f"p{i}": average for i, average in enumerate(shadow)}
        tensors |= {f"b{i}": average for i, average in zip(self._buffer_order, state_dict.get("shadow_buffers", []))}
        self._native.load_state(json.dumps(now), tensors)
        self._stored = state_dict.get("collected_params")
