"""Which optimizers of torch.optim the core has, and their options under its names."""

from __future__ import annotations

import inspect
from typing import Any

import torch

_NAMES = {
    torch.optim.AdamW: "adamw",
    torch.optim.Adam: "adam",
    torch.optim.SGD: "sgd",
    torch.optim.RMSprop: "rmsprop",
    torch.optim.Adagrad: "adagrad",
    torch.optim.LBFGS: "lbfgs",
}
_RENAMED = {"initial_accumulator_value": "initial_accumulator"}
_OPTIONS = {
    "lr", "weight_decay", "eps", "amsgrad", "maximize", "momentum", "dampening", "nesterov", "alpha", "centered",
    "lr_decay", "initial_accumulator", "max_iter", "history_size",
}  # fmt: skip
# How torch computes it, not what: the core has one way.
_MANNERS = {"foreach", "fused", "capturable", "differentiable"}


def native_options(optimizer_class: Any, given: dict[str, Any]) -> dict[str, Any] | None:
    """The core's options for `optimizer_class(parameters, **given)`; None where it has no such optimizer, or not with
    these options."""
    name = _NAMES.get(optimizer_class)
    if name is None:
        return None
    defaults = {key: p.default for key, p in inspect.signature(optimizer_class).parameters.items() if key != "params"}
    unknown = set(given) - set(defaults)
    if unknown:
        raise TypeError(
            f"{optimizer_class.__name__} has no option {sorted(unknown)[0]}, allowed: {', '.join(sorted(defaults))}"
        )
    options = {key: value for key, value in (defaults | given).items() if key not in _MANNERS}
    if name == "lbfgs":
        return _lbfgs(options)
    if "decoupled_weight_decay" in options and options.pop("decoupled_weight_decay") and name == "adam":
        name = "adamw"
    native: dict[str, Any] = {"name": name}
    for key, value in options.items():
        key = _RENAMED.get(key, key)
        if key == "betas":
            native["beta1"], native["beta2"] = (float(beta) for beta in value)
        elif key not in _OPTIONS:
            return None
        else:
            native[key] = value.item() if isinstance(value, torch.Tensor) else value
    for key in ("lr", "weight_decay", "eps", "momentum", "dampening", "alpha", "lr_decay", "initial_accumulator"):
        if key in native:
            native[key] = float(native[key])
    return native


def _lbfgs(options: dict[str, Any]) -> dict[str, Any] | None:
    """Without a line search alone: LibTorch's takes other steps than PyTorch's."""
    usual = inspect.signature(torch.optim.LBFGS).parameters
    if any(options[key] != usual[key].default for key in options if key not in ("lr", "max_iter", "history_size")):
        return None
    return {
        "name": "lbfgs",
        "lr": float(options["lr"]),
        "max_iter": options["max_iter"],
        "history_size": options["history_size"],
        "line_search": False,
    }
