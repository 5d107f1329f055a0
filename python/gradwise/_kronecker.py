"""KFAC and EKFAC: curvature by Kronecker factors, with inverse, eigenvalues and determinant in closed form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from . import _core
from ._documented import documented_by
from ._linear_operator import LinearOperator
from ._operator_inputs import Loss, batches_of, check_progress, likelihood_of, patterns_of
from ._records import Record, record


@documented_by(_core.KroneckerFactors)
class KFAC(LinearOperator):
    """`type`: "exact" and "monte_carlo" (`draws` targets a sample, drawn by `seed`) approximate `Fisher`, for the
    losses that it knows; "empirical" approximates `EmpiricalFisher`, for any loss function. `data`: a batch `(x, y)`,
    or an iterable of batches, which is read once; the matrix does not depend on how it is cut. `unsupported`: "refuse",
    or "leave_out", parameters that are in no such layer. `weight_sharing`: "expand", which takes a sample's positions
    (rows of a sequence, where a convolution's kernel stands) as independent, or "reduce", which makes one of them, for
    models that pool them before the loss. `parameters`, `reduction`, `check_deterministic` and `progress`: see
    `Options`. Layers are found in the graph, whatever the modules are called.

    The exact type takes a backward pass for each output of a sample: prefer "monte_carlo" where there are many.
    """

    _psd = True
    _corrected = False

    def __init__(
        self,
        model: torch.nn.Module,
        loss_function: Loss | str,
        data: Any,
        type: str = "exact",
        draws: int = 1,
        seed: int = 0,
        *,
        parameters: Sequence[str] | None = None,
        unsupported: str = "refuse",
        weight_sharing: str = "expand",
        reduction: str = "mean",
        check_deterministic: bool = True,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        patterns = patterns_of(parameters)
        check_progress(progress)
        if type not in ("exact", "monte_carlo", "empirical"):
            raise ValueError(f"type is {type!r}, allowed: exact, monte_carlo, empirical")
        if type == "empirical" and isinstance(loss_function, str):
            raise TypeError(f"loss_function is {loss_function!r}, allowed for type 'empirical': a callable")
        loss = loss_function if type == "empirical" else likelihood_of(loss_function, reduction)
        fisher = {} if type == "empirical" else {"type": type, "draws": draws, "seed": seed}
        options = {
            "corrected": self._corrected, "parameters": patterns, "unsupported": unsupported,
            "weight_sharing": weight_sharing, "reduction": reduction, "check_deterministic": check_deterministic,
        }  # fmt: skip
        self._factors = _core.KroneckerFactors(model, loss, batches_of(data), fisher, options, progress)
        super().__init__(self._factors)

    @property
    def parameter_names(self) -> list[str]:
        """The parameters of the rows, in their order."""
        return self._factors.parameter_names()

    @property
    def left_out(self) -> list[str]:
        """Parameters that are in no linear or convolution layer."""
        return self._factors.left_out()

    @property
    def samples(self) -> int:
        return self._factors.samples()

    @property
    def layers(self) -> list[Record]:
        """Of each block its `name`, that of the weight; `input_factor` (groups, in, in), with the bias as last input;
        `gradient_factor` (groups, out, out); `eigenvalues` (groups, out, in), those of the factors multiplied, or as
        EKFAC corrects them. All float64."""
        return [record(block) for block in self._factors.blocks()]

    def eigenvalues(self) -> torch.Tensor:
        """All of them (n), float64, in descending order."""
        return self._factors.eigenvalues()

    def inverse(self, damping: float, factored: bool = False) -> LinearOperator:
        """(A + damping I)^-1, exact. `factored`: the damping goes to the factors, scaled against each other by their
        traces (Martens and Grosse, 2015, section 6.3), as most optimizers do; not of EKFAC."""
        inverse = LinearOperator(self._factors.inverse(damping, factored))
        inverse._psd = True
        return inverse

    def trace(
        self, tol: float | None = None, *, products: int | None = None, method: str | None = None, seed: int = 0
    ) -> Record:
        """In closed form: the options play no part, and the keys are those of `LinearOperator.trace`."""
        return _known(self._factors.exact_trace())

    def frobenius_norm(self, tol: float | None = None, *, products: int | None = None, seed: int = 0) -> Record:
        """In closed form, as `trace`."""
        return _known(self._factors.exact_frobenius_norm())

    def log_determinant(
        self,
        damping: float = 0.0,
        steps: int = 40,
        vectors: int | None = None,
        *,
        seed: int = 0,
        tol: float | None = None,
    ) -> Record:
        """log det(A + damping I) in closed form, as `trace`; minus infinity where that is singular."""
        return _known(self._factors.exact_log_determinant(damping))


@documented_by(_core.KroneckerFactors, "EKFAC")
class EKFAC(KFAC):
    """Arguments and results are those of `KFAC`."""

    _corrected = True


def _known(value: float) -> Record:
    """An estimate without an error."""
    return Record(value=value, standard_error=0.0, low=value, high=value, samples=0, products=0, converged=True)
