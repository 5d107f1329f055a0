"""AdamW and SGD of torch.optim in one pass over memory, which clips, averages and measures as well."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch

from . import _core
from ._records import Record
from ._average import ExponentialMovingAverage

__all__ = ["SGD", "AdamW"]


class _OnePass(torch.optim.Optimizer):
    """State as torch's optimizer of the name has it; its tensors are views of the core's memory."""

    _rule = "adam"
    _decoupled = True
    _lines: tuple[str, ...] = ()

    def __init__(self, params: Any, defaults: dict[str, Any], max_grad_norm: float | None,
                 ema_decay: float | None) -> None:  # fmt: skip
        if max_grad_norm is not None and not max_grad_norm > 0:
            raise ValueError(f"max_grad_norm is {max_grad_norm}, allowed: > 0")
        super().__init__(params, defaults)
        self.max_grad_norm = max_grad_norm
        self.ema = None if ema_decay is None else ExponentialMovingAverage(self._parameters(), ema_decay)
        self._fused: Any = None
        self._shown = False  # whether `state` holds views of the core's memory
        self._last = Record()

    def _parameters(self) -> list[torch.Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    @property
    def last_step(self) -> Record:
        """What the last step did: `grad_norm`, `clipped`, `skipped`, `param_norm`, `update_norm`, `update_ratio`."""
        return self._last

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        if getattr(self, "_fused", None) is not None:
            self._sync_state()
            self._fused = None
        super().add_param_group(param_group)

    def _native(self) -> Any:
        if self._fused is None:
            self._fused = _core.FusedOptimizer(self._rule, self._decoupled, self.param_groups)
            self._shown = False
            for index, parameter in enumerate(self._parameters()):
                if parameter in self.state and self.state[parameter]:
                    state = self.state[parameter]
                    step = int(state["step"]) if "step" in state else 1
                    lines = [state.get(name) for name in self._lines] + [None] * (3 - len(self._lines))
                    self._fused.set_lines(index, step, *lines)
        else:
            self._fused.read_groups(self.param_groups)
        return self._fused

    @torch.no_grad()
    def step(self, closure: Callable[[], torch.Tensor] | None = None) -> torch.Tensor | None:  # type: ignore[override]
        """A step; one whose gradients are not finite is skipped where there is a `max_grad_norm`."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        native = self._native()
        scale, norm = 1.0, math.nan
        if self.max_grad_norm is not None:
            norm = native.gradient_norm()
            scale = _core.clip_coefficient(norm, self.max_grad_norm) if math.isfinite(norm) else math.nan
        skipped = math.isnan(scale)
        if skipped:
            native.measure_standing()
        else:
            native.update(scale, None if self.ema is None else self.ema._native)
        param_norm, update_norm, ratio = native.statistics() if native.measures() else (math.nan,) * 3
        self._last = Record(
            grad_norm=norm, clipped=scale < 1, skipped=skipped, param_norm=param_norm, update_norm=update_norm,
            update_ratio=ratio,
        )  # fmt: skip
        if not self._shown or len(self.state) != len(self._parameters()):
            self._show_state()
        return loss

    def _show_state(self) -> None:
        """Puts the core's tensors where torch's optimizers have theirs."""
        for index, parameter in enumerate(self._parameters()):
            found = self._fused.lines(index)
            if found is not None:
                step, *lines = found
                state = self.state[parameter]
                if self._rule == "adam":
                    state["step"] = torch.tensor(float(step))
                state |= {name: line for name, line in zip(self._lines, lines, strict=False) if line is not None}
        self._shown = True

    def _sync_state(self) -> None:
        if self._fused is not None:
            self._show_state()

    def state_dict(self) -> dict[str, Any]:
        self._sync_state()
        return super().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes a state of this class or of torch's optimizer of the name."""
        super().load_state_dict(state_dict)
        self._fused = None

    def __getstate__(self) -> dict[str, Any]:
        self._sync_state()
        return super().__getstate__() | {"max_grad_norm": self.max_grad_norm, "ema": self.ema}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.__dict__.setdefault("max_grad_norm", None)
        self.__dict__.setdefault("ema", None)
        self.__dict__.setdefault("_last", Record())
        self._fused = None
        self._shown = False


class AdamW(_OnePass):
    """`torch.optim.AdamW`, and in the same pass: clipping to `max_grad_norm`, averaged weights (`optimizer.ema`) where
    there is an `ema_decay`, and the figures of `optimizer.last_step`. `state_dict` goes both ways."""

    _lines = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")

    def __init__(self, params: Iterable[Any], lr: float | torch.Tensor = 1e-3,
                 betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 1e-2, *,
                 amsgrad: bool = False, maximize: bool = False, max_grad_norm: float | None = None,
                 ema_decay: float | None = None) -> None:  # fmt: skip
        _check(lr=lr, eps=eps, weight_decay=weight_decay)
        for i, beta in enumerate(betas):
            if not 0.0 <= beta < 1.0:
                raise ValueError(f"betas[{i}] is {beta}, allowed: from 0 to below 1")
        defaults = dict(
            lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad, maximize=maximize
        )
        super().__init__(params, defaults, max_grad_norm, ema_decay)


class SGD(_OnePass):
    """`torch.optim.SGD`, with what AdamW has here beside."""

    _rule = "sgd"
    _decoupled = False
    _lines = ("momentum_buffer",)

    def __init__(self, params: Iterable[Any], lr: float | torch.Tensor = 1e-3, momentum: float = 0.0,
                 dampening: float = 0.0, weight_decay: float = 0.0, nesterov: bool = False, *, maximize: bool = False,
                 max_grad_norm: float | None = None, ema_decay: float | None = None) -> None:  # fmt: skip
        _check(lr=lr, momentum=momentum, weight_decay=weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError(
                f"nesterov needs momentum > 0 and dampening 0, momentum is {momentum}, dampening {dampening}"
            )
        defaults = dict(
            lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov,
            maximize=maximize,
        )  # fmt: skip
        super().__init__(params, defaults, max_grad_norm, ema_decay)


def _check(**values: Any) -> None:
    for name, value in values.items():
        if not isinstance(value, (int, float, torch.Tensor)):
            raise TypeError(f"{name} is {value!r}, allowed: a number >= 0")
        if not value >= 0:
            raise ValueError(f"{name} is {value}, allowed: >= 0")
