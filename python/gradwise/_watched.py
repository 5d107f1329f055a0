"""What a watch asks of the training that it is given, and what it takes it for."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import torch


def refuse_policies(options: Mapping[str, Any]) -> None:
    """A ValueError for the first of the policies that act on a loop, which a watch does not hold."""
    for policy in ("stop_on", "skip_on", "roll_back_on"):
        if options.get(policy):
            raise ValueError(
                f"{policy} is {options[policy]!r}, allowed: nothing, for the loop is yours: look at what watch.step "
                "gives; gradwise.AutogradTrainingLoop takes it"
            )


def facts_of(model: torch.nn.Module, optimizer: torch.optim.Optimizer | None,
             run: str | os.PathLike[str] | None) -> dict[str, Any]:  # fmt: skip
    """What rules and records are told at the start."""
    return {
        "name": pathlib.Path(run).name if run else "",
        "model": type(model).__name__,
        "loss": "",
        "optimizer": type(optimizer).__name__.lower() if optimizer else "",
        "weight_decay": float(optimizer.param_groups[0].get("weight_decay", 0.0)) if optimizer else 0.0,
        "batch_size": 0,
    }
