"""Runs on disk, finished ones and those under way."""

from __future__ import annotations

import html
import os
from typing import Any

from . import _core, _run_plots
from ._checks import check_int, path_of
from ._documented import documented_by
from ._records import Findings, Issue, Record, Table, findings, issues, records, table_of

__all__ = ["Run", "load_run"]


@documented_by(_core.RunReader)
class Run:
    """Read again at every call: a run under way shows what it has written so far."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path_of("path", path)
        self._native = _core.RunReader(self.path)

    @property
    def status(self) -> str:
        """finished, stopped, interrupted, failed, running or killed."""
        return _core.run_status(self.path)

    @property
    def name(self) -> str:
        return self._native.info("name")

    def steps(self, after: int = 0) -> Table[Record]:
        """Loss, norms, rates and times of each step after `after`."""
        check_int(after=after)
        return records(self._native.steps(after))

    def epochs(self) -> Table[Record]:
        return records(self._native.epochs())

    def validations(self) -> Table[Record]:
        return records(self._native.validations())

    def readings(self, after: int = 0) -> Table[Record]:
        """A row for each parameter in each step that was put on record."""
        check_int(after=after)
        return records(self._native.readings(after))

    def parameters(self) -> Table[Record]:
        """The model's: `name`, `shape`, `elements`, `trainable` (at any time); empty where the run was not watched."""
        return records(self._native.parameters())

    def activations(self, after: int = 0) -> Table[Record]:
        """A row for each activation in each step that looked at them: `zeros`, `dead`, `saturated`, ..."""
        check_int(after=after)
        return records(self._native.activations(after))

    def histograms(self, after: int = 0) -> Table[Record]:
        """A row for each parameter in each step that has them: `counts` of the gradient's elements by sign and power of
        two, 64 numbers: bins 0 to 31 hold the negative, 32 to 63 the positive ones; within each half, bin b holds
        2^(b-26) <= |g| < 2^(b-25)."""
        check_int(after=after)
        return records(self._native.histograms(after))

    def noise_scales(self, after: int = 0) -> Table[Record]:
        """`noise_scale` at each step that measured it."""
        check_int(after=after)
        return records(self._native.noise_scales(after))

    @property
    def issues(self) -> Table[Issue]:
        return issues(self._native.issues())

    def diagnosis(self) -> Findings:
        return findings(self._native.findings())

    def plot(self, what: str = "loss", ax: Any = None) -> Any:
        """Draws with matplotlib into `ax`, or into axes of its own, and gives them. `what`: loss, grad_norm, lr,
        seconds, memory over the steps; gradients, updates, weights, cosines: each weight's over the steps that were
        read; flow, histograms, activations, noise; spectrum, curvature, trace, edge: of the Hessian that `gradwise
        analyze --hessian` has left in the run."""
        return _run_plots.plot_run(self, what, ax)

    def __repr__(self) -> str:
        return f"<gradwise.Run {self.path}: {self.status}, {self._native.last_step()} steps>"

    def _repr_html_(self) -> str:
        last = self.steps(max(0, self._native.last_step() - 1))
        return (
            f"<p><b>{html.escape(self.name or self.path)}</b>: {self.status}, {self._native.last_step()} steps</p>"
            f"{table_of(last) if last else ''}{self.diagnosis()._repr_html_()}"
        )


def load_run(path: str | os.PathLike[str]) -> Run:
    return Run(path)
