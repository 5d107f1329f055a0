"""PyTorch Lightning, by either of its names: `lightning` or `pytorch_lightning`.

    from gradwise.integrations.lightning import GradwiseCallback

    callback = GradwiseCallback(run="runs/first")
    Trainer(callbacks=[callback]).fit(module, loader)
    print(callback.diagnosis())
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .._optional import need
from .._core import samples_of
from ._session import Session

__all__ = ["GradwiseCallback"]  # noqa: F822  made by __getattr__


class _Hooks(Session):
    """Watches `Trainer.fit`; keywords are those of `gradwise.watch`. Logs gradwise/grad_norm and gradwise/issues as
    the module's own figures. `watch`, `issues`, `readings()` and `diagnosis()` stay after the training."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        self._losses: list[torch.Tensor] = []
        # The module's forward is not what Lightning calls: the batches are told by its own hooks.
        self._start(pl_module, trainer.optimizers, trainer.is_global_zero, scaler=scaler, forward_hook=False)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._watched()._clock.forward_start(samples_of(batch))

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: torch.Tensor) -> None:
        watch = self._watched()
        watch._clock.forward_end()
        if loss.requires_grad:
            watch.observe(loss)
        # Lightning has divided it by the number of micro-batches, unless the module does the optimizer's steps.
        parts = trainer.accumulate_grad_batches if pl_module.automatic_optimization else 1
        self._losses.append(loss.detach() * parts)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self._watched().backward_end()  # before Lightning clips

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        watch = self._watched()
        before = watch.steps
        watch.step(torch.stack(self._losses).mean() if self._losses else None)
        self._losses.clear()
        if watch.steps > before:
            pl_module.log_dict(self._figures(), on_step=True, on_epoch=False, batch_size=1)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if self.watch is not None:  # none in the sanity check before the training
            self.watch._clock.elsewhere()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.detach("stopped" if trainer.interrupted else "finished")

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._fail(exception)


if TYPE_CHECKING:

    class GradwiseCallback(_Hooks): ...


def __getattr__(name: str) -> Any:
    if name != "GradwiseCallback":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    framework = need(
        "gradwise.integrations.lightning", "lightning.pytorch", "pytorch_lightning", package="lightning"
    )
    made = type(name, (_Hooks, framework.Callback), {"__module__": __name__, "__doc__": _Hooks.__doc__})
    globals()[name] = made
    return made
