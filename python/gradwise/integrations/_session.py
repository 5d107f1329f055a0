"""What the callbacks of all frameworks have in common."""

from __future__ import annotations

import os
from typing import Any

from .._live import status_of
from .._records import Findings, Issue, Readings, Table
from ..errors import GradwiseUsageError
from ..watching import Watch


class Session:
    """Keywords are those of `gradwise.watch`. `watch` is that of the training under way or of the last one."""

    def __init__(self, run: str | os.PathLike[str] | None = None, **options: Any) -> None:
        super().__init__()
        self._run = run
        self._options = options
        self.watch: Watch | None = None

    def _start(self, model: Any, optimizers: Any, main: bool, **known: Any) -> Watch:
        """Of several processes, only the main one puts a run on disk."""
        self.detach("failed", "the training ended without a word")  # one before, in this callback
        self.watch = Watch(model, optimizers, run=self._run if main else None, **(known | self._options))
        return self.watch

    def detach(self, status: str = "finished", reason: str = "") -> None:
        """Ends the watch, where the framework has not done so."""
        if self.watch is not None:
            self.watch.detach(status, reason)

    def _fail(self, error: BaseException) -> None:
        self.detach(status_of(error), f"{type(error).__name__}: {error}")

    def _figures(self) -> dict[str, float]:
        """For the framework's logger."""
        watch = self._watched()
        return {"gradwise/grad_norm": watch.last_step.get("grad_norm", float("nan")),
                "gradwise/issues": float(len(watch.issues))}  # fmt: skip

    def _watched(self) -> Watch:
        if self.watch is None:
            raise GradwiseUsageError("no training has begun with this callback")
        return self.watch

    def diagnosis(self) -> Findings:
        """What the issues come from, most likely first."""
        return self._watched().diagnosis()

    @property
    def issues(self) -> Table[Issue]:
        return self._watched().issues

    def readings(self) -> Readings:
        return self._watched().readings()
