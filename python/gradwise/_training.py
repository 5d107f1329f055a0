"""The optimizer step and the training loop."""

from __future__ import annotations

import inspect
import json
import os
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from . import _core
from ._checks import check_int, check_number, check_tensors, checked_device, path_of
from ._documented import documented_by
from ._live import ending
from ._native_optimizer import native_options
from ._records import Record, record
from .errors import GradwiseUsageError

_WEIGHT_DECAY = 1e-2  # AdamW's; optimizers that take none go without

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Device = str | torch.device


def _has_own_clipping(step_options: dict[str, Any]) -> bool:
    """Whether a call at its defaults leaves clipping to the options: with `in_backward` it has to, whose options clip
    to the same norm."""
    return "clip" in step_options or bool(step_options.get("in_backward"))


def _clip(by_options: bool, clip_gradients: bool, max_grad_norm: float) -> tuple[bool, float] | None:
    """What a call asks of clipping; None where it asks for nothing of its own and the options have their say."""
    if not isinstance(clip_gradients, bool):
        raise TypeError(f"clip_gradients is {clip_gradients!r}, allowed: True or False")
    check_number(max_grad_norm=max_grad_norm)
    if clip_gradients and not max_grad_norm > 0:
        raise GradwiseUsageError(f"max_grad_norm is {float(max_grad_norm)}, allowed: > 0")
    usual = clip_gradients is True and max_grad_norm == 1.0
    return None if by_options and usual else (clip_gradients, float(max_grad_norm))


def _optimizer(model: torch.nn.Module, optimizer_class: Any, options: dict[str, Any]) -> Any:
    """The core's options for an optimizer class, or an instance of it."""
    if isinstance(optimizer_class, torch.optim.Optimizer):
        return optimizer_class
    if not callable(optimizer_class):
        raise TypeError(f"optimizer_class is {optimizer_class!r}, allowed: a class of torch.optim, or an optimizer")
    known = inspect.signature(optimizer_class).parameters
    if "weight_decay" not in known and not any(p.kind is p.VAR_KEYWORD for p in known.values()):
        if options["weight_decay"] not in (0, _WEIGHT_DECAY):
            name = getattr(optimizer_class, "__name__", optimizer_class)
            raise ValueError(f"weight_decay is {options['weight_decay']}, and {name} takes none, allowed: 0")
        options = {key: value for key, value in options.items() if key != "weight_decay"}
    native = native_options(optimizer_class, options)
    return optimizer_class(model.parameters(), **options) if native is None else native


@documented_by(_core.AutogradOptimizer)
class AutogradOptimizer:
    """`optimizer_class` is a class of torch.optim, given as a class; AdamW, Adam, SGD, RMSprop and Adagrad run in the
    core's one pass, LBFGS without a line search and tolerances of its own in LibTorch's. Every other class, or an
    optimizer that you have made, runs as it is, and gets a closure where its `step` asks for one. Further keywords are
    its options; a learning rate that is a tensor is read at each step. `step_options` are those of the step:
    ``{"clip": {"method": "agc"}, "precision": "bfloat16"}``; with a "clip" among them, a call that leaves
    `clip_gradients` and `max_grad_norm` at their defaults clips by it. `in_backward` updates each parameter as its
    gradient arrives, as the step option of the name does; it clips by the options alone. A parameter that is unfrozen
    later trains from then on. `param_norm`, `update_norm` and `update_ratio` are measured at each step;
    ``{"weight_statistics_every": n}`` does so at every n-th, with NaN between.
    """

    def __init__(self, model: torch.nn.Module, optimizer_class: Any = torch.optim.AdamW,
                 lr: float | torch.Tensor = 1e-3, weight_decay: float = _WEIGHT_DECAY, *,
                 step_options: dict[str, Any] | None = None, in_backward: bool = False,
                 **options: Any) -> None:  # fmt: skip
        given = {"lr": lr, "weight_decay": weight_decay} | options
        step_options = (step_options or {}) | ({"in_backward": True} if in_backward else {})
        self.model = model
        self._clips_by_options = _has_own_clipping(step_options)
        made = _optimizer(model, optimizer_class, given)
        self._rate = lr if isinstance(lr, torch.Tensor) and isinstance(made, dict) else None
        self._native = _core.AutogradOptimizer(model, made, step_options)

    def _read_rate(self) -> None:
        if self._rate is not None:
            self._native.set_rates([self._rate.item()] * len(self._native.rates()))

    def step(self, loss_function: Loss, input_data: torch.Tensor, target_data: torch.Tensor,
             clip_gradients: bool = True, max_grad_norm: float = 1.0) -> Record:  # fmt: skip
        """One step on a batch; gives `loss`, `grad_norm`, `grad_norm_clipped`, `clipped`, `lr`, `param_norm`,
        `update_ratio`, `seconds` of each phase, `issues`."""
        check_tensors(input_data=input_data, target_data=target_data)
        self._read_rate()
        clip = _clip(self._clips_by_options, clip_gradients, max_grad_norm)
        return record(self._native.step(loss_function, input_data, target_data, clip))

    def accumulate(self, loss_function: Loss, input_data: torch.Tensor, target_data: torch.Tensor,
                   window: int = 1) -> None:  # fmt: skip
        """Forward and backward of one of `window` micro-batches."""
        check_tensors(input_data=input_data, target_data=target_data)
        check_int(window=window)
        self._read_rate()
        self._native.accumulate(loss_function, input_data, target_data, window)

    def finish_step(self, clip_gradients: bool = True, max_grad_norm: float = 1.0) -> Record:
        """The update by what was accumulated: that of one batch of all micro-batches."""
        self._read_rate()
        return record(self._native.finish_step(_clip(self._clips_by_options, clip_gradients, max_grad_norm)))

    @property
    def lr(self) -> list[float]:
        """The learning rate of each parameter group."""
        self._read_rate()
        return self._native.rates()

    @lr.setter
    def lr(self, rates: float | Sequence[float]) -> None:
        groups = len(self._native.rates())
        given = [float(rates)] * groups if isinstance(rates, (int, float)) else list(rates)
        self._native.set_rates(given)
        if self._rate is not None:
            self._rate.fill_(given[0])

    @property
    def steps(self) -> int:
        return self._native.steps

    @property
    def skipped_steps(self) -> int:
        return self._native.skipped_steps

    def state_dict(self) -> dict[str, Any]:
        values, tensors = self._native.state()
        return {"values": json.loads(values), "tensors": tensors}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._native.load_state(json.dumps(state_dict["values"]), state_dict["tensors"])
        if self._rate is not None:
            self._rate.fill_(self._native.rates()[0])


def _end_records(native: Any) -> None:
    native.end_records(*ending())


@documented_by(_core.AutogradTrainingLoop)
class AutogradTrainingLoop:
    """Batches are any iterable of (input, target). Keywords beyond those of the optimizer are in `options`, as
    `gradwise config --explain` lists them under `train`:
    ``{"epochs": 5, "metrics": ["accuracy"], "use_ema": True, "schedule": {"name": "cosine"}}``, and those of the step
    in ``{"step": {"in_backward": True}}``. A learning rate that is a tensor is read once: the schedule moves the
    loop's own. A step's `param_norm`, `update_norm` and `update_ratio` (callbacks at "step_end", records) are measured
    at every 50th and NaN between, whatever the optimizer; ``{"step": {"weight_statistics_every": 1}}`` asks for each.
    `checkpoints` is a folder for checkpoints, from which `resume` goes on to the same bits.

    `standardize_targets`: the targets of the training data, numbers of shape (N) or (N, K). The targets of every batch
    are then scaled, (y - mean) / deviation by the columns of these; losses are of scaled targets, and so are the
    outputs of the model (`target_scaling`), but metrics are in the data's own units.

    `progress`: shows the training on standard error, on a terminal by a bar. `run`: a new folder that the training is
    put on record in, with readings, issues and diagnosis as `gradwise train` has them; for `load_run`.
    """

    def __init__(self, model: torch.nn.Module, optimizer_class: Any = torch.optim.AdamW, lr: float = 1e-3,
                 weight_decay: float = _WEIGHT_DECAY, *, options: dict[str, Any] | None = None,
                 checkpoints: str | os.PathLike[str] | None = None, standardize_targets: torch.Tensor | None = None,
                 progress: bool = False, run: str | os.PathLike[str] | None = None,
                 **optimizer_options: Any) -> None:  # fmt: skip
        if standardize_targets is not None:
            check_tensors(standardize_targets=standardize_targets)
        given = {"lr": lr, "weight_decay": weight_decay} | optimizer_options
        self.model = model
        self._clips_by_options = _has_own_clipping((options or {}).get("step", {}))
        folder = "" if checkpoints is None else path_of("checkpoints", checkpoints)
        self._native = _core.AutogradTrainingLoop(
            model, _optimizer(model, optimizer_class, given), options or {}, folder, standardize_targets, progress,
            "" if run is None else path_of("run", run),
        )  # fmt: skip
        if progress or run is not None:
            weakref.finalize(self, _end_records, self._native)

    def train_epoch(self, dataloader: Iterable[Any], loss_function: Loss, device: Device = "cpu",
                    clip_gradients: bool = True, max_grad_norm: float = 1.0) -> Record:  # fmt: skip
        """One epoch; gives `losses` (one a step), `grad_norms`, `learning_rates`, `samples_per_second`, and
        `peak_bytes` where the option `measure_memory` asks for it."""
        told = record(
            self._native.train_epoch(
                dataloader,
                loss_function,
                checked_device(device),
                _clip(self._clips_by_options, clip_gradients, max_grad_norm),
            )
        )
        if told.complete and told.samples == 0:
            raise GradwiseUsageError("[train] the training data has no batch")
        return told

    def validate(self, dataloader: Iterable[Any], loss_function: Loss, device: Device = "cpu") -> Record:
        """In evaluation mode, with the averaged weights where there is an average; gives `validation_loss` and
        `metrics`."""
        return record(self._native.validate(dataloader, loss_function, checked_device(device)))

    def fit(self, training: Iterable[Any], loss_function: Loss, validation: Iterable[Any] | None = None,
            device: Device = "cpu") -> Record:  # fmt: skip
        """All epochs, with validation, early stopping and checkpoints as the options say."""
        return record(self._native.fit(training, validation, loss_function, checked_device(device)))

    def on(self, point: str, callback: Callable[[Record], str | None]) -> None:
        """Calls back at a point ("step_end", "epoch_end", ...); an answer of "skip", "stop" or "roll_back" steers."""
        if not isinstance(point, str):
            raise TypeError(f"point is {point!r}, allowed: a str")
        if not callable(callback):
            raise TypeError(f"callback is {callback!r}, allowed: a callable of what is told")
        self._native.on(point, lambda told: callback(record(told)))

    def request_stop(self) -> None:
        self._native.request_stop()

    def save_checkpoint(self) -> str:
        """Saves now, and gives the folder."""
        return self._native.save_checkpoint()

    def resume(self, checkpoint: str | os.PathLike[str], device: Device = "cpu") -> None:
        self._native.resume(path_of("checkpoint", checkpoint), checked_device(device))

    @property
    def target_scaling(self) -> Record:
        """`mean` and `stddev` of each column of the training targets, as lists, with whose tensors
        ``output * stddev + mean`` is in the data's own units; empty without `standardize_targets`."""
        return record(self._native.target_scaling())

    @property
    def steps(self) -> int:
        return self._native.steps
