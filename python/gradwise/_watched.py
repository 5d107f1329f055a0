"""What a watch asks of the training that it is given, and what it takes it for."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import torch


_DECOUPLED = ("adamw", "adamw8bit", "lion", "lion8bit", "muon", "adafactor")  # ends of names in lower case


def refuse_loops_options(options: Mapping[str, Any]) -> None:
    """A ValueError for the first of the options that act on a loop, which a watch does not hold."""
    for policy in ("stop_on", "skip_on", "roll_back_on"):
        if options.get(policy):
            raise ValueError(
                f"{policy} is {options[policy]!r}, allowed: nothing, for the loop is yours: look at what watch.step "
                "gives; a configuration's [watch] takes it, and gradwise.AutogradTrainingLoop.on acts on a loop"
            )
    if not options.get("enabled", True):
        raise ValueError("enabled is False, allowed: True: a loop that is not to be watched makes no watch")
    if options.get("probe_every"):
        raise ValueError(
            f"probe_every is {options['probe_every']}, allowed: nothing, for a watch makes no pass of its own; a "
            "configuration's [watch] takes it"
        )


def facts_of(model: torch.nn.Module, optimizer: torch.optim.Optimizer | None,
             run: str | os.PathLike[str] | None) -> dict[str, Any]:  # fmt: skip
    """What rules and records are told at the start."""
    name = type(optimizer).__name__.lower() if optimizer else ""
    group = optimizer.param_groups[0] if optimizer else {}
    return {
        "name": pathlib.Path(run).name if run else "",
        "model": type(model).__name__,
        "loss": "",
        "optimizer": name,
        "weight_decay": float(group.get("weight_decay", 0.0)),
        "decoupled_decay": bool(group.get("decoupled_weight_decay")) or name.endswith(_DECOUPLED),
        "batch_size": 0,
        "tables": [
            f"{module}.{parameter}" if module else parameter
            for module, found in model.named_modules()
            if isinstance(found, (torch.nn.Embedding, torch.nn.EmbeddingBag))
            for parameter, _ in found.named_parameters(recurse=False)
        ],
    }
