"""What the optimizers in one pass over memory have in common."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, TypedDict

import torch

from . import _core
from ._average import ExponentialMovingAverage
from ._checks import check_int, check_number
from ._records import Record

# Of torch's, which states of its earlier versions do not have.
_LATER_OPTIONS = (
    "amsgrad", "maximize", "foreach", "capturable", "differentiable", "fused", "decoupled_weight_decay",
)  # fmt: skip
State = defaultdict[torch.Tensor, dict[str, Any]]


class PassOptions(TypedDict, total=False):
    """What an optimizer in one pass takes beside torch's options; see AdamW."""

    max_grad_norm: float | None
    ema_decay: float | None
    ema_every: int
    ema_warmup: bool
    parity: bool
    state_dtype: str
    stochastic_rounding: bool
    # Of torch's: how it computes, not what.
    foreach: bool | None
    fused: bool | None
    capturable: bool
    differentiable: bool


def _refuse_twice(params: list[Any]) -> None:
    """A ValueError where a group has a parameter twice, which the pass can't step twice; torch warns, and steps it
    twice. Frozen ones are left to torch."""
    places: dict[int, int] = {}
    for place, parameter in enumerate(params):
        first = places.setdefault(id(parameter), place)
        if first != place and isinstance(parameter, torch.Tensor) and parameter.requires_grad:
            shape = tuple(parameter.shape)
            raise ValueError(
                f"parameters {first} and {place} of a group are one tensor, of shape {shape}, allowed: once"
            )


def _average_of(parameters: list[torch.Tensor], options: PassOptions) -> ExponentialMovingAverage | None:
    decay, every = options.get("ema_decay"), options.get("ema_every", 1)
    if decay is None:
        return None
    check_number(ema_decay=decay)
    check_int(ema_every=every)
    if not 0 <= decay <= 1:
        raise ValueError(f"ema_decay is {decay}, allowed: from 0 to 1")
    if every < 1:
        raise ValueError(f"ema_every is {every}, allowed: >= 1")
    return ExponentialMovingAverage(parameters, decay, options.get("ema_warmup", True), every=every)


class _OnePass(torch.optim.Optimizer):
    """State as torch's optimizer of the name has it; its tensors are views of the core's memory."""

    _rule = "adam"
    _decoupled = True
    _lines: tuple[str, ...] = ()  # torch's names for the core's lines; "" for one that the rule has no use for
    _counts_steps = True  # whether torch's state has a step

    def __init__(self, params: Any, defaults: dict[str, Any], of_the_pass: PassOptions) -> None:
        known = PassOptions.__annotations__
        for name in of_the_pass:
            if name not in known:
                allowed = ", ".join([*defaults, *known])
                raise TypeError(f"{type(self).__name__} has no option {name}, allowed: {allowed}")
        max_grad_norm = of_the_pass.get("max_grad_norm")
        state_dtype = of_the_pass.get("state_dtype", "float32")
        if max_grad_norm is not None and not max_grad_norm > 0:
            raise ValueError(f"max_grad_norm is {max_grad_norm}, allowed: > 0")
        if state_dtype not in ("float32", "bfloat16"):
            raise ValueError(f"state_dtype is {state_dtype!r}, allowed: 'float32', 'bfloat16'")
        for name in ("capturable", "differentiable"):
            if of_the_pass.get(name, False):
                raise ValueError(f"{name} is True, allowed: False: the pass writes behind autograd's back")
        super().__init__(params, defaults)
        self.max_grad_norm = max_grad_norm
        self._manner = {
            "parity": bool(of_the_pass.get("parity", False)),
            "bfloat16_state": state_dtype == "bfloat16",
            "stochastic_rounding": bool(of_the_pass.get("stochastic_rounding", False)),
        }
        self._ema = _average_of(self._parameters(), of_the_pass)
        self._last = Record()
        self._forget_core()

    def _forget_core(self) -> None:
        self._fused: Any = None
        self._order: list[torch.Tensor] = []  # the core's parameters
        self._shown: list[dict[str, torch.Tensor] | None] = []  # and what `state` holds of each
        self._entries = 0  # in how many entries
        self._layout = -1  # of the core, when that was put there
        self._looked_at = True

    def _parameters(self) -> list[torch.Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    @property
    def last_step(self) -> Record:
        """What the last step did: `grad_norm`, `clipped`, `skipped`, `param_norm`, `update_norm`, `update_ratio`."""
        return self._last

    @property
    def ema(self) -> ExponentialMovingAverage:
        """The averaged weights; an AttributeError where there is no `ema_decay`."""
        if self._ema is None:
            name = type(self).__name__
            raise AttributeError(f"this {name} averages no weights, allowed: {name}(..., ema_decay=0.999)")
        return self._ema

    # A property, to learn of changes without looking for them in each step.
    @property
    def state(self) -> State:
        """What is remembered of each parameter, as it is now; what is put in its place or deleted counts from the next
        step on."""
        self._looked_at = True
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        self._state = state
        self._looked_at = True

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        params = param_group.get("params") if isinstance(param_group, dict) else None
        if isinstance(params, Iterable) and not isinstance(params, (torch.Tensor, set)):
            param_group["params"] = params = list(params)  # as torch does, which then speaks of whatever else is wrong
            _refuse_twice([p[1] if isinstance(p, tuple) and len(p) == 2 else p for p in params])
        super().add_param_group(param_group)
        average: ExponentialMovingAverage | None = getattr(self, "_ema", None)  # torch adds the first groups itself
        if average is not None:
            average._follow(self._parameters())

    def _native(self) -> Any:
        """The core, with the parameters and options of now."""
        if self._fused is None or not self._fused.read_groups(self.param_groups):
            self._make_core()
        elif self._looked_at or len(self._state) < self._entries:
            self._take_changes()
        return self._fused

    def _stepped(self) -> Any:
        """The core as the last step left it: no look at the groups, which it has just read."""
        return self._fused

    def _make_core(self) -> None:
        held = set(self._parameters())
        for parameter in [p for p in self._state if isinstance(p, torch.Tensor) and p not in held]:
            del self._state[parameter]
        # The one before lives until this one is there: whoever knows it by its address must not take this one for it.
        made = _core.FusedOptimizer(self._rule, self._decoupled, self.param_groups, **self._manner)
        self._forget_core()
        self._fused, self._order, self._looked_at = made, self._parameters(), False
        self._shown = [None] * len(self._order)
        for index in range(len(self._order)):
            self._hand_over(index)
        if self._ema is not None:
            self._ema._follow(self._order)

    def _hand_over(self, index: int) -> None:
        """Gives the core what `state` has of a parameter."""
        entry = self._state.get(self._order[index]) or {}
        lines = [entry.get(name) for name in self._lines]
        if "step" in entry or any(line is not None for line in lines):
            self._fused.set_lines(index, int(entry.get("step", 1)), *(lines + [None] * (3 - len(lines))))
        elif self._shown[index] is not None:
            self._fused.forget(index)
            self._shown[index] = None

    def _take_changes(self) -> None:
        self._looked_at = False
        for index, (parameter, shown) in enumerate(zip(self._order, self._shown, strict=True)):
            entry = self._state.get(parameter) or {}
            if (shown is None and entry) or any(entry.get(name) is not line for name, line in (shown or {}).items()):
                self._hand_over(index)

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
            native.update(scale, *(([], [], 0.0) if self._ema is None else self._ema._ride()))
        param_norm, update_norm, ratio = native.statistics() if native.measures() else (math.nan,) * 3
        self._last = Record(
            grad_norm=norm, clipped=scale < 1, skipped=skipped, param_norm=param_norm, update_norm=update_norm,
            update_ratio=ratio,
        )  # fmt: skip
        if native.layout() != self._layout and not skipped:
            self._show_state()
        return loss

    def _show_state(self) -> None:
        """Puts the core's tensors where torch's optimizers have theirs."""
        self._layout = self._fused.layout()
        counts = self._counts_steps or self._manner["stochastic_rounding"]  # the random numbers go by the step
        for index, parameter in enumerate(self._order):
            found = self._fused.lines(index)
            if found is None:
                continue
            step, *lines = found
            shown = {"step": step} if counts else {}
            shown |= {name: line for name, line in zip(self._lines, lines, strict=False) if name and line is not None}
            self._shown[index] = shown
            if shown:
                entry = self._state.setdefault(parameter, {})
                for name in self._lines:
                    entry.pop(name, None)
                entry |= shown
        self._entries = sum(bool(shown) for shown in self._shown)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes a state of this class or of torch's optimizer of the name; moments keep their type."""
        for index, group in enumerate(state_dict.get("param_groups", ())):
            if missing := [name for name in self.defaults if name not in group and name not in _LATER_OPTIONS]:
                raise ValueError(
                    f"group {index} of the state has no {', '.join(missing)}, allowed: a state of {type(self).__name__}"
                )
        seen: list[dict[str, Any]] = []
        hook = self.register_load_state_dict_pre_hook(lambda _, given: seen.append(given))  # the last of them
        try:
            super().load_state_dict(state_dict)
        finally:
            hook.remove()
        saved = seen[-1]
        places = [place for group in saved["param_groups"] for place in group["params"]]
        for place, parameter in zip(places, self._parameters(), strict=True):
            for name, line in saved["state"].get(place, {}).items():
                if name in self._lines and isinstance(line, torch.Tensor):  # torch has cast it to the parameter's type
                    self._state[parameter][name] = line.to(parameter.device)

    def __getstate__(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("max_grad_norm", "_ema", "_manner")}
        return super().__getstate__() | own

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.state = state["state"]
        super().__setstate__({key: value for key, value in state.items() if key != "state"})
        for name, value in (("max_grad_norm", None), ("_ema", None), ("_last", Record())):
            self.__dict__.setdefault(name, value)
        self.__dict__.setdefault("_manner", {"parity": False, "bfloat16_state": False, "stochastic_rounding": False})
        self._forget_core()
