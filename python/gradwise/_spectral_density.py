"""The density of a matrix's eigenvalues."""

from __future__ import annotations

from typing import Any

from . import _plots
from ._records import Record


class SpectralDensity(Record):
    """`eigenvalues`, `density` and `standard_errors` at each, `samples`, `products`, `converged`."""

    def plot(self, ax: Any = None) -> Any:
        """Draws with matplotlib into `ax`, or into axes of its own, and gives them."""
        return _plots.density_curve(
            ax, "Spectral density", self["eigenvalues"].tolist(), self["density"].tolist(),
            self["standard_errors"].tolist(),
        )  # fmt: skip
