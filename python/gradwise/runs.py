"""Runs on disk, finished ones and those under way."""

from __future__ import annotations

import os
from typing import Any

from . import _core
from ._records import Finding, Issue, Record, findings, issues, record

__all__ = ["Run", "load_run"]


class Table(list[Record]):
    """Rows of a run. `to_pandas()` gives a data frame, where pandas is installed."""

    def to_dict(self) -> dict[str, list[Any]]:
        """Columns by name."""
        return {key: [row[key] for row in self] for key in (self[0] if self else {})}

    def to_pandas(self) -> Any:
        try:
            import pandas  # type: ignore[import-untyped, unused-ignore]
        except ImportError:
            raise ImportError("to_pandas() needs pandas: pip install pandas") from None
        return pandas.DataFrame.from_records([row.to_dict() for row in self])


class Run:
    """A run's records, read again at every call: a run under way shows what it has written so far."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._native = _core.RunReader(self.path)

    @property
    def status(self) -> str:
        """finished, stopped, interrupted, failed, running or killed."""
        return _core.run_status(self.path)

    @property
    def name(self) -> str:
        return self._native.info("name")

    def steps(self, after: int = 0) -> Table:
        """Loss, norms, rates and times of each step after `after`."""
        return Table(record(row) for row in self._native.steps(after))

    def epochs(self) -> Table:
        return Table(record(row) for row in self._native.epochs())

    def validations(self) -> Table:
        return Table(record(row) for row in self._native.validations())

    def readings(self, after: int = 0) -> Table:
        """A row for each parameter in each step that was put on record."""
        return Table(record(row) for row in self._native.readings(after))

    @property
    def issues(self) -> list[Issue]:
        return issues(self._native.issues())

    def diagnosis(self) -> list[Finding]:
        return findings(self._native.findings())

    def __repr__(self) -> str:
        return f"<gradwise.Run {self.path}: {self.status}, {self._native.last_step()} steps>"

    def _repr_html_(self) -> str:
        told = "".join(f"<li>{finding}</li>" for finding in self.diagnosis())
        return f"<p><b>{self.name or self.path}</b>: {self.status}, {self._native.last_step()} steps</p><ol>{told}</ol>"


def load_run(path: str | os.PathLike[str]) -> Run:
    return Run(path)
