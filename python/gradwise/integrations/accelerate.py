"""Hugging Face Accelerate.

    from gradwise.integrations.accelerate import watch

    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    with watch(accelerator, model, optimizer, run="runs/first") as watching:
        for x, y in loader:
            with accelerator.accumulate(model):
                loss = loss_function(model(x), y)
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
            watching.step(loss)
    print(watching.diagnosis())
"""

from __future__ import annotations

import os
from typing import Any

import torch

from .._optional import need
from .._records import Issue, Table
from ..watching import Watch

__all__ = ["AcceleratedWatch", "watch"]


class AcceleratedWatch(Watch):
    """A watch that knows its accelerator: `step` after each micro-batch with the loss as it was given to
    `accelerator.backward`. Where that one clips on another device than the CPU, or in several processes, call
    `backward_end()` before. The issues that a step gives are those of this process."""

    _accelerator: Any
    _log_every: int

    def step(self, loss: torch.Tensor | float | None = None, *, samples: int | None = None) -> Table[Issue]:
        """Ends a step where the accelerator lets the optimizer step; before that, the losses are those of
        micro-batches."""
        before = self.steps
        new = super().step(loss, samples=samples)
        if self.steps > before and self.steps % self._log_every == 0 and self._accelerator.trackers:
            figures = {"gradwise/grad_norm": self.last_step.grad_norm, "gradwise/issues": len(self.issues)}
            self._accelerator.log(figures, step=self.steps)
        return new


def watch(accelerator: Any, model: torch.nn.Module, optimizer: Any, *, run: str | os.PathLike[str] | None = None,
          log_every: int = 10, **options: Any) -> AcceleratedWatch:  # fmt: skip
    """Watches what `accelerator.prepare` has made of a model and an optimizer, or several; keywords are those of
    `gradwise.watch`. Knows the loss scale; the run is the main process's. Every `log_every` steps, gradwise/grad_norm
    and gradwise/issues go to the accelerator's trackers."""
    accelerate = need("gradwise.integrations.accelerate", "accelerate", package="accelerate")
    if not isinstance(accelerator, accelerate.Accelerator):
        raise TypeError(f"accelerator is a {type(accelerator).__name__}, allowed: accelerate.Accelerator")
    if log_every < 1:
        raise ValueError(f"log_every is {log_every}, allowed: >= 1")
    made = AcceleratedWatch(
        model, optimizer, run=run if accelerator.is_main_process else None, scaler=accelerator.scaler, **options
    )
    made._accelerator = accelerator
    made._log_every = log_every
    return made
