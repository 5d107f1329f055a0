"""Hugging Face Transformers' `Trainer`.

    from gradwise.integrations.transformers import GradwiseCallback

    callback = GradwiseCallback(run="runs/first")
    with callback.watching(trainer):
        trainer.train()
    print(callback.diagnosis())

`Trainer(callbacks=[callback])` alone does too. A Trainer tells its callbacks of no exception, though: then the watch
stays attached until the next training or `callback.detach()`; and trackers that stand before this callback, as the
Trainer's own do, don't get its figures, which are in `trainer.state.log_history` all the same.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from .._core import is_aside
from .._forward_hook import ForwardHook
from .._optional import need
from .._unwrap import bare_model
from ..errors import GradwiseUsageError
from ._session import Session

__all__ = ["GradwiseCallback"]  # noqa: F822  made by __getattr__


def _weakly(method: Callable[..., None]) -> Callable[..., None]:
    """Calls the method, in passes of training, while its object lives."""
    reference = weakref.WeakMethod(method)

    def call(*arguments: Any) -> None:
        if (found := reference()) is not None and not is_aside():
            found(*arguments)

    return call


class _Hooks(Session):
    """Watches `Trainer.train`; keywords are those of `gradwise.watch`. The loss is that of the model's own output,
    where it has one, else the one that the Trainer logs. Adds gradwise/grad_norm and gradwise/issues to what the
    Trainer logs. `watch`, `issues`, `readings()` and `diagnosis()` stay after the training."""

    def __init__(self, run: str | os.PathLike[str] | None = None, **options: Any) -> None:
        super().__init__(run, **options)
        self._handle: Any = None
        self._losses: list[torch.Tensor] = []
        self._told = False  # whether the model's output has a loss
        self._summed = False  # whether the micro-batches' losses add up to the step's

    @contextlib.contextmanager
    def watching(self, trainer: Any) -> Iterator[_Hooks]:
        """Watches what `trainer` trains within, and ends the watch whatever happens. Stands before its trackers, which
        so get the figures, and reads gradients before they are clipped on any device."""
        handlers = trainer.callback_handler.callbacks
        if self in handlers:
            handlers.remove(self)
        handlers.insert(0, self)
        accelerator = trainer.accelerator
        clip = accelerator.clip_grad_norm_

        def read_and_clip(*args: Any, **kwargs: Any) -> Any:
            if self.watch is not None and not self.watch.detached:
                self.watch.backward_end()
            return clip(*args, **kwargs)

        accelerator.clip_grad_norm_ = read_and_clip
        try:
            yield self
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            del accelerator.clip_grad_norm_
            handlers.remove(self)
            self.detach()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        model, optimizer = kwargs["model"], kwargs["optimizer"]
        if optimizer is None:
            raise GradwiseUsageError("the Trainer has no optimizer of its own to watch, as with DeepSpeed")
        scaler = getattr(optimizer, "scaler", None)
        self._losses.clear()
        self._told = False
        self._start(model, optimizer, state.is_world_process_zero, scaler=scaler)
        hook = ForwardHook(_weakly(self._forward_end))
        self._handle = bare_model(model).register_forward_hook(hook, with_kwargs=True)

    def detach(self, status: str = "finished", reason: str = "") -> None:
        super().detach(status, reason)
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def _forward_end(self, module: torch.nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        loss = output.get("loss") if isinstance(output, dict) else getattr(output, "loss", None)
        if module.training and isinstance(loss, torch.Tensor) and loss.requires_grad and loss.dim() == 0:
            self._watched().observe(loss)
            self._losses.append(loss.detach())
            self._told = True
            self._summed = kwargs.get("num_items_in_batch") is not None

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        watch = self._watched()
        losses = torch.stack(self._losses) if self._losses else None
        watch.step(None if losses is None else losses.sum() if self._summed else losses.mean())
        self._losses.clear()

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        logs = kwargs.get("logs") or {}
        if self.watch is None or self.watch.detached or "loss" not in logs:
            return
        if not self._told:  # the model's output has none
            self.watch._native.suppose_loss(float(logs["loss"]))
        figures = self._figures()
        logs |= figures
        if state.log_history:
            state.log_history[-1] |= figures

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.watch is not None:
            self.watch._clock.elsewhere()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.detach()


if TYPE_CHECKING:

    class GradwiseCallback(_Hooks): ...


def __getattr__(name: str) -> Any:
    if name != "GradwiseCallback":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    framework = need("gradwise.integrations.transformers", "transformers", package="transformers")
    made = type(name, (_Hooks, framework.TrainerCallback), {"__module__": __name__, "__doc__": _Hooks.__doc__})
    globals()[name] = made
    return made
