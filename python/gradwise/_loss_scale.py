"""What a GradScaler does to the gradients that a watch reads, and to the steps of the optimizers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

_Stage = torch.amp.grad_scaler.OptState


class LossScale:
    """Of a scaler, or of none. `late`: gradients are read after backward and not during it."""

    def __init__(self, scaler: torch.amp.GradScaler | None, optimizers: Sequence[torch.optim.Optimizer],
                 late: bool) -> None:  # fmt: skip
        if scaler is not None and not isinstance(scaler, torch.amp.GradScaler):
            raise TypeError(f"scaler is {scaler!r}, allowed: torch.amp.GradScaler")
        self._scaler = scaler if scaler is not None and scaler.is_enabled() else None
        self._optimizers = optimizers
        self._late = late
        self.last = self.now()

    @property
    def scales(self) -> bool:
        return self._scaler is not None

    def now(self) -> float:
        return 1.0 if self._scaler is None else self._scaler.get_scale()

    def _states(self) -> list[dict[str, Any]]:
        told = {} if self._scaler is None else self._scaler._per_optimizer_states
        return [told[id(o)] for o in self._optimizers if id(o) in told]

    def factor(self) -> float:
        """What the readings have to be multiplied by: late ones may have been unscaled already."""
        unscaled = self._late and any(state["stage"] is _Stage.UNSCALED for state in self._states())
        return 1.0 if unscaled else 1.0 / self.now()

    def end_step(self) -> None:
        self.last = self.now()

    def kept_from_stepping(self) -> bool:
        """Whether the scaler has left out a step since `end_step`: it holds what it found until its `update`, and after
        that its scale has shrunk."""
        found = [
            float(count)
            for state in self._states()
            if state["stage"] is _Stage.STEPPED
            for count in state["found_inf_per_device"].values()
        ]
        return self.now() < self.last or any(count > 0 for count in found)
