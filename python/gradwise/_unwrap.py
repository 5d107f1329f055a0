"""What is within the wrappers of compilers, of data parallel training and of frameworks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.parallel import DataParallel, DistributedDataParallel


def bare_model(model: Any) -> Any:
    """The module whose parameters have the names that the user gave them."""
    while True:
        if isinstance(model, (DataParallel, DistributedDataParallel)):
            model = model.module
        elif isinstance(getattr(model, "_orig_mod", None), torch.nn.Module):  # torch.compile's
            model = model._orig_mod
        else:
            return model


def bare_optimizer(optimizer: Any) -> Any:
    """The optimizer whose `step` runs in the end: Accelerate's and Lightning's hold it as `optimizer`."""
    while isinstance(getattr(optimizer, "optimizer", None), torch.optim.Optimizer):
        optimizer = optimizer.optimizer
    return optimizer


def bare_optimizers(given: Any, model: torch.nn.Module) -> list[torch.optim.Optimizer]:
    """Those that run in the end; refuses what is none, and what trains something else."""
    several = [] if given is None else list(given) if isinstance(given, Sequence) else [given]
    if given is not None and not several:
        raise ValueError(f"optimizer is {given!r}, allowed: an optimizer, several, or None where none is watched")
    optimizers = [bare_optimizer(one) for one in several]
    own = {id(p) for p in model.parameters()}
    for one in optimizers:
        if not isinstance(one, torch.optim.Optimizer):
            name = type(one).__name__
            way_out = ""
            if name in ("AutogradTrainingLoop", "AutogradOptimizer"):
                way_out = f"; make one, and give it to {name} and to watch"
                way_out += ", or give the loop `run=`, which watches it" if name == "AutogradTrainingLoop" else ""
            raise TypeError(f"optimizer is a {name}, allowed: torch.optim.Optimizer{way_out}")
        if not any(id(p) in own for group in one.param_groups for p in group["params"]):
            raise ValueError("the optimizer holds none of the model's parameters, allowed: one that trains this model")
    return optimizers
