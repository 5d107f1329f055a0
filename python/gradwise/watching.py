"""Watching a training loop of your own."""

from __future__ import annotations

import itertools
import math
import os
import pathlib
import warnings
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import torch

from . import _core
from ._records import Finding, Issue, Record, findings, issues, record
from .optimizers import _OnePass

__all__ = ["Watch", "watch"]


class Watch:
    """Reads every gradient as it arrives, weights and updates as they are made, and holds the rules against them.

    `step` may be left out where an optimizer is given: its steps are seen by themselves. Called after each of them
    with the loss, the rules on the loss work too; a step without one counts the last that was told.
    """

    def __init__(self, model: torch.nn.Module, optimizer: Any = None, *, every: int = 1, histograms_every: int = 0,
                 run: str | os.PathLike[str] | None = None, scaler: torch.amp.GradScaler | None = None,
                 **options: Any) -> None:  # fmt: skip
        optimizers = [] if optimizer is None else list(optimizer) if isinstance(optimizer, Sequence) else [optimizer]
        for given in optimizers:
            if not isinstance(given, torch.optim.Optimizer):
                raise TypeError(f"optimizer is a {type(given).__name__}, allowed: torch.optim.Optimizer")
        model = getattr(model, "_orig_mod", model)  # torch.compile's wrapper
        own = {id(p) for p in model.parameters()} if isinstance(model, torch.nn.Module) else set()
        for given in optimizers:
            if not any(id(p) in own for group in given.param_groups for p in group["params"]):
                raise ValueError("the optimizer holds none of the model's parameters, allowed: one that trains this model")
        self._optimizers = optimizers
        self._scaler = scaler
        self._on_host = all(p.device.type == "cpu" for p in model.parameters())
        gradients = {"every": every, "histograms_every": histograms_every} | options.pop("gradients", {})
        # Without batches there is nothing to be told of data.
        asked = {"activations_every": 10, "batches_every": 0} | options | {"gradients": gradients}
        facts = {
            "name": pathlib.Path(run).name if run else "",
            "model": type(model).__name__,
            "loss": "",
            "optimizer": type(optimizers[0]).__name__.lower() if optimizers else "",
            "weight_decay": float(optimizers[0].param_groups[0].get("weight_decay", 0.0)) if optimizers else 0.0,
            "batch_size": 0,
        }
        self._native = _core.Watching(model, facts, asked, os.fspath(run) if run else "")
        self._fused = optimizers[0] if len(optimizers) == 1 and isinstance(optimizers[0], _OnePass) else None
        self._pending: dict[str, Any] | None = None
        self._loss: float | None = None
        self._issues: list[Issue] = []
        self._told = False  # of an optimizer that does not step
        self._seen: set[int] = set()  # optimizers that have stepped in the step under way
        self._handles = list(
            itertools.chain.from_iterable(
                (o.register_step_pre_hook(self._before_update), o.register_step_post_hook(self._after_update))
                for o in optimizers
            )
        )

    def _scale(self) -> float:
        """What the readings have to be multiplied by. On the CPU they are taken during backward; on other devices after
        it, when the scaler may have unscaled the gradients already."""
        if self._scaler is None or not self._scaler.is_enabled():
            return 1.0
        unscaled = not self._on_host and any(
            self._scaler._per_optimizer_states[id(o)]["stage"] is torch.amp.grad_scaler.OptState.UNSCALED
            for o in self._optimizers
        )
        return 1.0 if unscaled else 1.0 / self._scaler.get_scale()

    def _native_of(self) -> Any:
        return None if self._fused is None else self._fused._native()

    def _before_update(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if id(optimizer) in self._seen:  # another of them did not step this time
            self._end_updates()
        if not self._seen:  # of several optimizers, the first one's step is the step's
            self._finish()
            norm = self._native.backward_end(self._scale(), self._native_of())
            lr = self._optimizers[0].param_groups[0]["lr"]
            self._pending = {"grad_norm": norm * self._scale(), "lr": float(lr)}
        self._seen.add(id(optimizer))

    def _after_update(self, *_: Any) -> None:
        if len(self._seen) == len(self._optimizers):
            self._end_updates()

    def _end_updates(self) -> None:
        self._seen.clear()
        if self._pending is not None:
            self._pending["skipped"] = bool(self._fused is not None and self._fused.last_step.get("skipped", False))
            self._pending["ready"] = True
            self._native.update_end(self._native_of())

    def _finish(self) -> None:
        """Ends the step that waits for its loss."""
        if self._pending is None or not self._pending.get("ready"):
            return
        pending, self._pending = self._pending, None
        new = self._native.step_end(
            self._loss, pending["grad_norm"], pending["lr"], pending["skipped"], 0
        )
        self._issues += issues(new)

    def observe(self, loss: torch.Tensor) -> None:
        """Reads activations off the loss's graph; call it before `backward`. Only every tenth step costs anything."""
        self._check_open()
        self._finish()
        self._native.forward_end(loss)

    def step(self, loss: torch.Tensor | float | None = None) -> list[Issue]:
        """Ends a step, after the optimizer's; gives the issues that are new. Without an optimizer: after `backward`
        and whatever changes the weights."""
        self._check_open()
        if loss is not None:
            self._loss = float(loss.detach()) if isinstance(loss, torch.Tensor) else float(loss)
        seen = len(self._issues)
        if not self._optimizers:
            norm = self._native.backward_end(self._scale(), self._native_of())
            self._native.update_end(self._native_of())
            self._pending = {"grad_norm": norm * self._scale(), "lr": math.nan, "skipped": False, "ready": True}
        elif self._pending is None and not self._told:
            self._told = True
            warnings.warn("watch.step was called and the optimizer has not stepped since the last call", stacklevel=2)
        self._finish()
        return self._issues[seen:]

    def readings(self) -> dict[str, Record]:
        """The last reading of each parameter: `grad_norm`, `grad_mean`, `weight_norm`, `update_ratio`, ..."""
        if not self._native.closed:
            self._finish()
        return {name: record(reading) for name, reading in self._native.readings().items()}

    @property
    def issues(self) -> list[Issue]:
        """Everything that was told so far."""
        if not self._native.closed:
            self._finish()
        return list(self._issues)

    def diagnosis(self) -> list[Finding]:
        """What the issues come from, most likely first."""
        self._check_open()
        self._finish()
        return findings(self._native.diagnosis())

    @property
    def steps(self) -> int:
        return self._native.steps

    def _check_open(self) -> None:
        if self._native.closed:
            raise RuntimeError("the watch is detached")

    def detach(self, status: str = "finished", reason: str = "") -> None:
        """Takes all hooks away and ends the run on disk."""
        if self._native.closed:
            return
        self._finish()
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._native.close(status, reason)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:  # fmt: skip
        self.detach("finished" if kind is None else "failed", "" if error is None else str(error))

    def __deepcopy__(self, _memo: dict[int, Any]) -> None:
        return None  # a copied model is not watched

    def __repr__(self) -> str:
        return f"<gradwise.Watch, {self.steps} steps, {len(self._issues)} issues>"


def watch(model: torch.nn.Module, optimizer: Any = None, *, every: int = 1, histograms_every: int = 0,
          run: str | os.PathLike[str] | None = None, **options: Any) -> Watch:  # fmt: skip
    """Watches a training: one line in an existing loop.

    watch = gradwise.watch(model, optimizer, run="runs/first")
    for x, y in loader:
        loss = loss_function(model(x), y)
        optimizer.zero_grad(); loss.backward(); optimizer.step()
        watch.step(loss)
    print(*watch.diagnosis(), sep="\\n")
    """
    return Watch(model, optimizer, every=every, histograms_every=histograms_every, run=run, **options)
