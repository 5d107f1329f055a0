"""Watching a training loop of your own."""

from __future__ import annotations

import functools
import itertools
import os
import warnings
import weakref
from types import TracebackType
from typing import Any

import torch

from . import _core, _plots
from ._checks import check_int, check_mapping, check_number, check_tensors, path_of, with_keywords
from ._documented import documented_by
from ._forward_hook import ForwardHook, remove_all
from ._live import add_live, end_with, status_of, watching
from ._loss_scale import LossScale
from ._records import Findings, Issue, Readings, Record, Table, findings, issues, record
from ._unwrap import bare_model, bare_optimizers
from ._told_closure import telling
from ._watched import facts_of, refuse_loops_options
from .errors import GradwiseUsageError
from .optimizers import _OnePass

__all__ = ["Watch", "unwatch", "watch"]

_WEIGHTS_EVERY = 10  # steps, where the optimizer doesn't measure its update and a pass of the watch's own has to
_CALLS_WITHOUT_STEP = 1000  # of `Watch.step`, until it says that the optimizer does not step
_STATUSES = ("finished", "stopped", "interrupted", "failed")
_KEYWORDS = ("every", "histograms_every", "run", "scaler", "forward_hook")  # of a watch, beside the core's options


@documented_by(_core.Watching)
class Watch:
    """`step` may be left out where an optimizer is given: its steps are seen by themselves. Called after each of them
    with the loss, the rules on the loss work too; that of a step without one is unknown. Losses that are told between
    two steps of the optimizer are those of micro-batches: their mean is the step's.

    `model` and `optimizer` may be what torch.compile, DistributedDataParallel or Accelerate has wrapped. A model has
    one watch at a time; copies and pickled files of it have none. Layers may be frozen and unfrozen in mid-run: the
    readings of a frozen one hold no figures.
    `forward_hook`: counts samples and times the phases by a hook on the model's forward pass in training mode; the
    samples are the length of its first input's first dimension. A compiled model's pass isn't seen where the hook would
    be compiled with it.

    Weights and updates (`weight_norm`, `update_norm`, `update_ratio`) are read at every step with an optimizer of
    Gradwise's own that holds all trained parameters, at the first and every tenth with any other: between, readings
    give those of the last time. ``gradients={"weights_every": 1}`` asks for each.
    """

    def __init__(self, model: torch.nn.Module, optimizer: Any = None, *, every: int = 1, histograms_every: int = 0,
                 run: str | os.PathLike[str] | None = None, scaler: torch.amp.GradScaler | None = None,
                 forward_hook: bool = True, **options: Any) -> None:  # fmt: skip
        outer, model = model, bare_model(model)
        if not isinstance(model, torch.nn.Module):
            raise TypeError(f"model is a {type(model).__name__}, allowed: torch.nn.Module")
        if (other := watching(model)) is not None:
            raise GradwiseUsageError(
                f"the model is watched already, by {other!r}: call its detach() or gradwise.unwatch(model) first, a "
                "model has one watch at a time"
            )
        self._optimizers = bare_optimizers(optimizer, model)
        self._model: torch.nn.Module | None = model
        # Readings wait for the end of backward on other devices, and where gradients are averaged over processes.
        on_host = all(p.device.type == "cpu" for p in model.parameters())
        averaged = torch.distributed.is_available() and torch.distributed.is_initialized()
        averaged = averaged and torch.distributed.get_world_size() > 1
        self._scale = LossScale(scaler, self._optimizers, late=not on_host or averaged)
        first = self._optimizers[0] if self._optimizers else None
        self._fused = first if len(self._optimizers) == 1 and isinstance(first, _OnePass) else None
        refuse_loops_options(options)
        check_mapping(gradients=options.get("gradients", {}))
        gradients = {"every": every, "histograms_every": histograms_every} | options.pop("gradients", {})
        if self._fused is None:
            gradients.setdefault("weights_every", _WEIGHTS_EVERY if first else 1)
        # Without batches there is nothing to be told of data.
        asked = {"activations_every": 10, "batches_every": 0} | options | {"gradients": gradients}
        run = None if run is None else path_of("run", run)
        facts = facts_of(model, first, run)
        try:
            self._native = _core.Watching(model, facts, asked, run or "")
        except TypeError as error:
            raise TypeError(with_keywords(str(error), options, _KEYWORDS)) from None
        if averaged:
            self._native.expect_backwards(2**62)
        if first is None and gradients["weights_every"] == 1:
            self._native.expect_late_steps()
        self._clock = self._native.clock
        self._finish_with = self._native.finisher()
        self._issues: Table[Issue] = Table()
        self._findings: Findings | None = None
        self._silent = 0  # calls of `step` since the optimizer stepped
        self._plain = len(self._optimizers) == 1 and not self._scale.scales
        self._seen: set[int] = set()  # optimizers that have stepped in the step under way
        before, after = self._before_update, self._after_update
        if self._plain and self._fused is None:
            before, after = map(functools.partial, self._native.step_hooks(), (before, after))
        self._handles = list(
            itertools.chain.from_iterable(
                (o.register_step_pre_hook(before), o.register_step_post_hook(after)) for o in self._optimizers
            )
        )
        if forward_hook and not isinstance(outer, torch.jit.ScriptModule):
            self._hook_forward(outer)
        self._ending = end_with(self, self._native)
        add_live(self)

    def _hook_forward(self, module: torch.nn.Module) -> None:
        before, after = map(ForwardHook, self._clock.forward_hooks())
        hooks = [module.register_forward_pre_hook(before, with_kwargs=True), module.register_forward_hook(after)]
        self._handles += hooks
        weakref.finalize(self, remove_all, hooks).atexit = False

    def _native_of(self) -> Any:
        return None if self._fused is None else self._fused._native()

    def _before_update(self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...],
                       kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:  # fmt: skip
        if self._plain and len(args) == 1 and not kwargs:  # the usual, with as little Python as can be
            self._native.begin_update(1.0, optimizer.param_groups[0]["lr"], 1.0, self._native_of())
            return None
        if self._native.closed:
            return None
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if not callable(closure):
            self._begin_update(optimizer)
            return None
        told = telling(self, optimizer, closure)  # the gradients come while the optimizer steps
        return (args, kwargs | {"closure": told}) if "closure" in kwargs else ((args[0], told, *args[2:]), kwargs)

    def _begin_update(self, optimizer: torch.optim.Optimizer) -> None:
        if id(optimizer) in self._seen:  # another of them did not step this time
            self._end_updates()
        if self._seen:
            self._clock.update_start()
        else:  # of several optimizers, the first one's step is the step's
            self._finish()
            self._native.begin_update(self._scale.factor(), self._rate(), self._scale.now(), self._native_of())
        self._seen.add(id(optimizer))

    def _rate(self) -> float:
        return float(self._optimizers[0].param_groups[0]["lr"])

    def _after_update(self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._plain and len(args) == 1 and not kwargs:
            self._end_update()
            return
        if self._native.closed:
            return
        if id(optimizer) not in self._seen:  # it did not call its closure
            self._begin_update(optimizer)
        if len(self._seen) == len(self._optimizers):
            self._end_updates()
        else:
            self._clock.update_end()

    def _end_updates(self) -> None:
        self._seen.clear()
        self._end_update()

    def _end_update(self) -> None:
        skipped = self._fused is not None and bool(self._fused.last_step.get("skipped", False))
        stepped: Any = None if self._fused is None else self._fused._stepped()
        self._native.end_update(skipped, stepped)

    def _finish(self, samples: int | None = None) -> None:
        """Ends the step that waits for its loss."""
        new = self._native.finish(samples)
        if new is None:
            return
        self._add(new)
        self._silent = 0
        self._scale.end_step()

    def _add(self, new: list[dict[str, Any]]) -> Table[Issue]:
        """Issues of the core's, among those that were told."""
        told = issues(new)
        self._issues += told
        return told

    def _note_skipped(self) -> None:
        """Ends a step that the scaler has kept the optimizer from."""
        if self._scale.kept_from_stepping():
            self._native.end_skipped(self._rate(), self._scale.last, self._native_of())

    def observe(self, loss: torch.Tensor) -> None:
        """Reads activations off the loss's graph; call it before `backward`. Only every tenth step costs anything."""
        self._check_open()
        check_tensors(loss=loss)
        check_number(loss=loss)
        self._native.forward_end(loss)

    def backward_end(self) -> None:
        """Says that the step's gradients are complete. Of use before they are clipped or changed by hand, on another
        device than the CPU and in data parallel training, where they are read at the optimizer's step otherwise."""
        self._check_open()
        if not self._seen:  # of several optimizers, the first one's
            self._native.backward_end(self._scale.factor(), self._native_of())

    def step(self, loss: torch.Tensor | float | None = None, *, samples: int | None = None) -> Table[Issue]:
        """Ends a step, after the optimizer's; gives the issues that are new. Between `backward` and the optimizer's
        step it may be called too: the step ends with the next call. Without an optimizer: after `backward` and whatever
        changes the weights. `samples`: of the step, where the forward pass does not show them."""
        if samples is None and self._plain:  # with as little Python as can be
            new = self._finish_with(loss)
            if new is not NotImplemented:
                self._silent = 0
                return self._add(new) if new else Table()
        self._check_open()
        if samples is not None:
            check_int(samples=samples)
            if not 0 < samples < 2**53:
                raise ValueError(f"samples is {samples}, allowed: 1 ... 2**53")
        under_way = self._native.under_way
        if loss is not None:
            check_number(loss=loss)
            self._native.tell_loss(loss.item() if hasattr(loss, "item") else float(loss))
            if self._scale.scales and self._native.told_before_update:
                warnings.warn(
                    "watch.step was called before scaler.step(optimizer): call it after scaler.update(), or steps that "
                    "the scaler leaves out get the next one's figures",
                    stacklevel=2,
                )
        seen = len(self._issues)
        if not self._optimizers:
            self._native.end_alone(self._scale.factor(), self._scale.now(), self._native_of())
        elif not under_way:
            self._note_skipped()
            self._silent += 1
            if self._silent == _CALLS_WITHOUT_STEP:
                warnings.warn(
                    f"watch.step was called {self._silent} times and the optimizer has not stepped", stacklevel=2
                )
        self._finish(samples)
        return self._issues[seen:]

    def readings(self) -> Readings:
        """The last reading of each parameter: `grad_norm`, `grad_mean`, `weight_norm`, `update_ratio`, ..."""
        if not self._native.closed:
            self._finish()
        return Readings({name: record(reading) for name, reading in self._native.readings().items()})

    @property
    def issues(self) -> Table[Issue]:
        """Everything that was told so far."""
        if not self._native.closed:
            self._finish()
        return Table(self._issues)

    @property
    def last_step(self) -> Record:
        """`step`, `loss` (None where none was told), `grad_norm`, `lr`, `param_norm`, `update_norm` and `update_ratio`
        (NaN unless a Gradwise optimizer measures them), `skipped`, `loss_scale`, `samples`, `micro_batches` and
        `seconds` by phase."""
        if not self._native.closed:
            self._finish()
        return record(self._native.last_step())

    def diagnosis(self) -> Findings:
        """What the issues come from, most likely first."""
        if self._findings is not None:  # as it was when the watch was detached
            return self._findings
        self._finish()
        if not self.steps and self._silent:
            warnings.warn(
                f"watch.step was called {self._silent} times, and the optimizer has not stepped: nothing was watched",
                stacklevel=2,
            )
        return findings(self._native.diagnosis())

    def plot(self, what: str = "grad_norm", ax: Any = None) -> Any:
        """Draws the last readings, a bar a parameter, with matplotlib into `ax`, or into axes of its own, and gives
        them. `what`: grad_norm, weight_norm, update_ratio, grad_max, grad_zeros, grad_cosine."""
        return _plots.plot_readings(self.readings(), what, ax)

    @property
    def steps(self) -> int:
        return self._native.steps

    @property
    def detached(self) -> bool:
        return self._native.closed

    def _check_open(self) -> None:
        if self._native.closed:
            raise GradwiseUsageError("the watch is detached, allowed: a new one, by gradwise.watch")

    def detach(self, status: str = "finished", reason: str = "") -> None:
        """Takes all hooks away and ends the run on disk. What was found can still be read; `step`, `observe` and
        `backward_end` raise a GradwiseUsageError. `status`: finished, stopped, interrupted or failed."""
        if status not in _STATUSES:
            raise ValueError(f"status is {status!r}, allowed: {', '.join(_STATUSES)}")
        if self._native.closed:
            return
        self._finish()
        remove_all(self._handles)
        self._handles.clear()
        self._findings = findings(self._native.diagnosis())
        self._native.close(status, str(reason))
        self._ending.detach()
        self._optimizers.clear()
        self._model = self._fused = None

    def _leave_to_parent(self, native: Any) -> None:
        """In a forked process: this watch sees nothing any more, and the parent's goes on."""
        remove_all(self._handles)
        self._handles.clear()
        self._findings = Findings()
        self._ending.detach()
        self._native = native
        self._plain = False

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:  # fmt: skip
        self.detach(status_of(error), "" if error is None else str(error))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()  # what is copied or pickled is not watched

    def __repr__(self) -> str:
        return f"<gradwise.Watch, {self._counts()}>"

    def _repr_html_(self) -> str:
        found = self.diagnosis()
        return f"<p>{self._counts()}</p>{found._repr_html_()}"

    def _counts(self) -> str:
        issues = len(self._issues)
        return f"{self.steps} step{'s' * (self.steps != 1)}, {issues} issue{'s' * (issues != 1)}"


def watch(model: torch.nn.Module, optimizer: Any = None, *, every: int = 1, histograms_every: int = 0,
          run: str | os.PathLike[str] | None = None, **options: Any) -> Watch:  # fmt: skip
    """Watches a training: one line in an existing loop.

    watch = gradwise.watch(model, optimizer, run="runs/first")
    for x, y in loader:
        loss = loss_function(model(x), y)
        optimizer.zero_grad(); loss.backward(); optimizer.step()
        watch.step(loss)
    print(watch.diagnosis())
    """
    return Watch(model, optimizer, every=every, histograms_every=histograms_every, run=run, **options)


def unwatch(model: torch.nn.Module) -> None:
    """Detaches the watch that the model has, if any: where it is out of reach."""
    if (watch := watching(bare_model(model))) is not None:
        watch.detach()
