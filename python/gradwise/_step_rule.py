"""What linear stability has to know of an optimizer: its rates, momentum and preconditioner as they stand."""

from __future__ import annotations

from typing import Any

import torch

from . import _core
from .optimizers import SGD, AdamW

_SHARED = ("momentum", "dampening", "nesterov", "betas", "eps", "amsgrad", "maximize")


def step_rule(optimizer: torch.optim.Optimizer | None, model: torch.nn.Module) -> _core.StepRule:
    """The rule of SGD, Adam and AdamW; of another optimizer, or none, one that says why there is none."""
    if optimizer is None:
        return _core.StepRule()
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(f"optimizer is a {type(optimizer).__name__}, allowed: a torch.optim.Optimizer")
    name = type(optimizer).__name__
    adam = isinstance(optimizer, (torch.optim.Adam, AdamW))
    if not adam and not isinstance(optimizer, (torch.optim.SGD, SGD)):
        return _core.StepRule.unknown_optimizer(name)
    group = optimizer.param_groups[0]
    if any(other.get(key) != group.get(key) for other in optimizer.param_groups for key in _SHARED):
        return _core.StepRule.unknown(name, "its groups differ in more than learning rate and weight decay")
    if group.get("maximize"):
        return _core.StepRule.ascent(name)
    trainable = [p for p in model.parameters() if p.requires_grad]
    rate_of = {id(p): float(g["lr"]) for g in optimizer.param_groups for p in g["params"]}
    if trainable and not any(id(p) in rate_of for p in trainable):
        raise ValueError("optimizer has no parameter of the model, allowed: the optimizer of this model")
    rates = [rate_of.get(id(p), 0.0) for p in trainable]
    if not adam:
        momentum, dampening = float(group["momentum"]), float(group["dampening"])
        if momentum >= 1 or dampening >= 1:
            return _core.StepRule.unsettled(name)
        return _core.StepRule.sgd(rates, momentum, dampening, bool(group["nesterov"]))
    states: list[dict[str, Any]] = [optimizer.state.get(p, {}) for p in trainable]  # without making one
    kind = "max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq"
    beta1, beta2 = (float(beta) for beta in group["betas"])
    return _core.StepRule.adam(
        name, rates, beta1, beta2, float(group["eps"]), [state.get(kind) for state in states],
        [int(state.get("step", 0)) for state in states],
    )  # fmt: skip
