"""Optimizers of torch.optim in one pass over memory, which clips, averages and measures as well."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch

from ._one_pass import PassOptions
from ._one_pass import _OnePass as _OnePass

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Lion", "RMSprop"]


class AdamW(_OnePass):
    """`torch.optim.AdamW`, and in the same pass: clipping to `max_grad_norm`, averaged weights (`optimizer.ema`) where
    there is an `ema_decay`, and the figures of `optimizer.last_step`.

    Further keywords of the pass: `ema_every` (steps from one update of the average to the next), `ema_warmup` (False:
    no smaller decay at first), `state_dtype` ("bfloat16": moments of half the size), `stochastic_rounding` (moments and
    weights in bfloat16 are rounded up or down at random, right in the mean), `parity` (ATen's operators one by one,
    with torch's bits; slow). `foreach` and `fused`, which say how torch computes, are taken and change nothing.

    `state_dict` goes both ways between this class and torch's. The averaged weights are not in it: save
    `optimizer.ema.state_dict()` beside it. `param_groups` may change in mid-run: what is taken out loses its state and
    its average, the average of what is added begins at its present value.
    """

    _lines = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")

    def __init__(self, params: Iterable[Any], lr: float | torch.Tensor = 1e-3,
                 betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 1e-2,
                 amsgrad: bool = False, *, maximize: bool = False,
                 **of_the_pass: Unpack[PassOptions]) -> None:  # fmt: skip
        _check(lr=lr, eps=eps, weight_decay=weight_decay)
        _check_betas(betas)
        defaults = dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad, maximize=maximize)
        super().__init__(params, defaults, of_the_pass)


class SGD(_OnePass):
    """`torch.optim.SGD`, with the keywords that AdamW has here beside torch's."""

    _rule = "sgd"
    _decoupled = False
    _lines = ("momentum_buffer",)
    _counts_steps = False

    def __init__(self, params: Iterable[Any], lr: float | torch.Tensor = 1e-3, momentum: float = 0.0,
                 dampening: float = 0.0, weight_decay: float = 0.0, nesterov: bool = False, *, maximize: bool = False,
                 **of_the_pass: Unpack[PassOptions]) -> None:  # fmt: skip
        _check(lr=lr, momentum=momentum, weight_decay=weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError(
                f"nesterov needs momentum > 0 and dampening 0, momentum is {momentum}, dampening {dampening}"
            )
        defaults = dict(
            lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay, nesterov=nesterov,
            maximize=maximize,
        )  # fmt: skip
        super().__init__(params, defaults, of_the_pass)


class Adam(AdamW):
    """`torch.optim.Adam`, whose weight decay is an L2 penalty, with the keywords that AdamW has here beside torch's."""

    _decoupled = False

    def __init__(self, params: Iterable[Any], lr: float | torch.Tensor = 1e-3,
                 betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.0,
                 amsgrad: bool = False, *, maximize: bool = False,
                 **of_the_pass: Unpack[PassOptions]) -> None:  # fmt: skip
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, **of_the_pass)


class RMSprop(_OnePass):
    """`torch.optim.RMSprop`, with the keywords that AdamW has here beside torch's."""

    _rule = "rmsprop"
    _decoupled = False
    _lines = ("momentum_buffer", "square_avg", "grad_avg")

    def __init__(self, params: Iterable[Any], lr: float | torch.Tensor = 1e-2, alpha: float = 0.99, eps: float = 1e-8,
                 weight_decay: float = 0.0, momentum: float = 0.0, centered: bool = False, *, maximize: bool = False,
                 **of_the_pass: Unpack[PassOptions]) -> None:  # fmt: skip
        _check(lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum)
        defaults = dict(
            lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum, centered=centered,
            maximize=maximize,
        )  # fmt: skip
        super().__init__(params, defaults, of_the_pass)


class Adagrad(_OnePass):
    """`torch.optim.Adagrad`, with the keywords that AdamW has here beside torch's. Unlike torch's it remembers nothing
    of a parameter before its first gradient."""

    _rule = "adagrad"
    _decoupled = False
    _lines = ("", "sum")

    def __init__(self, params: Iterable[Any], lr: float | torch.Tensor = 1e-2, lr_decay: float = 0.0,
                 weight_decay: float = 0.0, initial_accumulator_value: float = 0.0, eps: float = 1e-10, *,
                 maximize: bool = False, **of_the_pass: Unpack[PassOptions]) -> None:  # fmt: skip
        given = dict(
            lr=lr, lr_decay=lr_decay, weight_decay=weight_decay, initial_accumulator_value=initial_accumulator_value,
            eps=eps,
        )  # fmt: skip
        _check(**given)
        super().__init__(params, given | {"maximize": maximize}, of_the_pass)


class Lion(_OnePass):
    """The sign of an averaged gradient (Chen et al. 2023, algorithm 2): w -= lr (sign(beta1 m + (1 - beta1) g) +
    weight_decay w), then m = beta2 m + (1 - beta2) g. A tenth of AdamW's rate, ten times its decay. Keywords beside are
    those that AdamW has here."""

    _rule = "lion"
    _lines = ("exp_avg",)

    def __init__(self, params: Iterable[Any], lr: float | torch.Tensor = 1e-4,
                 betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0, *, maximize: bool = False,
                 **of_the_pass: Unpack[PassOptions]) -> None:  # fmt: skip
        _check(lr=lr, weight_decay=weight_decay)
        _check_betas(betas)
        defaults = dict(lr=lr, betas=betas, weight_decay=weight_decay, maximize=maximize)
        super().__init__(params, defaults, of_the_pass)


def _check_betas(betas: tuple[float, float]) -> None:
    for i, beta in enumerate(betas):
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"betas[{i}] is {beta}, allowed: from 0 to below 1")


def _check(**values: Any) -> None:
    for name, value in values.items():
        if not isinstance(value, (int, float, torch.Tensor)):
            raise TypeError(f"{name} is {value!r}, allowed: a number >= 0")
        if not value >= 0:
            raise ValueError(f"{name} is {value}, allowed: >= 0")
