"""Curvature of a loss on a batch or a data set: matrices known by their products, and what can be told of them.

    H = gradwise.curvature.Hessian(model, loss_function, (x, y))
    H.top_eigenvalues(3).eigenvalues, H.trace(tol=0.01).value, H.solve(v, damping=0.1).x, H @ v
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

import torch
from typing_extensions import Unpack

from . import _core
from ._documented import documented_by
from ._kronecker import EKFAC, KFAC
from ._linear_operator import LinearOperator, from_function, from_matrix, sampled
from ._operator_inputs import Loss, batches_of, check_progress, likelihood_of, patterns_of
from ._records import Record, record

__all__ = [
    "EKFAC", "EmpiricalFisher", "Fisher", "GaussNewton", "GradientCovariance", "Hessian", "KFAC", "LinearOperator",
    "from_function", "from_matrix",
]  # fmt: skip


class Options(TypedDict, total=False):
    """Keywords of every operator below.

    `parameters`: patterns of names (`*`, `?`); all trainable ones where it is not given. `block`: "layer" or
    "parameter", to keep the diagonal blocks alone. `damping`: added to the diagonal. `reduction`: "mean" or "sum", as
    the loss goes over samples; the matrix is the mean or the sum over the data set, however it is cut. `memory_bound`:
    bytes of graphs that are kept between products (0: no bound); the rest is recorded at each product.
    `check_deterministic`: refuse dropout and batch norm in training mode, and over several batches a loss that is not
    the mean or sum over samples that `reduction` says; False takes the passes as they fall. `progress`: called with
    (batches done, batches) as the operator is made and at each product.
    """

    parameters: Sequence[str] | None
    block: str | None
    damping: float
    reduction: str
    memory_bound: int
    check_deterministic: bool
    progress: Callable[[int, int], None] | None


class _DataOperator(LinearOperator):
    """An operator over a model's parameters and a data set."""

    def __init__(self, make: Callable[[Any, dict[str, Any], Any], _core.DataOperator], data: Any,
                 options: Mapping[str, object]) -> None:  # fmt: skip
        keywords: dict[str, Any] = dict(options)
        block, damping, progress = (keywords.pop(key, None) for key in ("block", "damping", "progress"))
        keywords["parameters"] = patterns_of(keywords.pop("parameters", None))
        check_progress(progress)
        self._over_data = make(batches_of(data), keywords, progress)
        native: _core.LinearOperator = self._over_data
        if block is not None:
            native = _core.BlockDiagonal(self._over_data, block)
        if damping:
            native = _core.Damped(native, damping)
        super().__init__(native)

    @property
    def parameter_names(self) -> list[str]:
        """The parameters of the rows, in their order."""
        return self._over_data.parameter_names()

    @property
    def samples(self) -> int:
        return self._over_data.samples()

    @property
    def kept_batches(self) -> int:
        """Mini-batches whose graphs are kept between products."""
        return self._over_data.kept_batches()


@documented_by(_core.Hessian)
class Hessian(_DataOperator):
    """The loss is `loss_function(model(x), y)` over `data`: a batch `(x, y)`, or an iterable of batches, which is read
    once. Keywords: see `Options`."""

    def __init__(self, model: torch.nn.Module, loss_function: Loss, data: Any, **options: Unpack[Options]) -> None:
        super().__init__(lambda *given: _core.Hessian(model, loss_function, *given), data, options)

    @property
    def gradient(self) -> torch.Tensor:
        assert isinstance(self._over_data, _core.Hessian)
        return self._over_data.gradient()

    def trace(
        self, tol: float | None = None, *, products: int | None = None, method: str | None = None, seed: int = 0
    ) -> Record:
        """As of any operator, and `method="layers"`: random vectors over what the layers give out, one for each sample,
        in place of vectors over the parameters. For models of linear layers on (samples, units), each used once, it
        takes a tenth of the products or fewer, and a product takes less. Without `block` and `damping`."""
        if method != "layers":
            return super().trace(tol, products=products, method=method, seed=seed)
        if self._native is not self._over_data:
            raise ValueError("method is 'layers', allowed with block or damping: the other methods")
        assert isinstance(self._over_data, _core.Hessian)
        return record(self._over_data.layer_trace(sampled(products, tol, seed)))


@documented_by(_core.GaussNewton)
class GaussNewton(_DataOperator):
    """`data` and keywords: see `Hessian`."""

    _psd = True

    def __init__(self, model: torch.nn.Module, loss_function: Loss, data: Any, **options: Unpack[Options]) -> None:
        super().__init__(lambda *given: _core.GaussNewton(model, loss_function, *given), data, options)


@documented_by(_core.EmpiricalFisher)
class EmpiricalFisher(_DataOperator):
    """The loss goes over samples by a mean or a sum, and outputs have samples along dimension 0. Gradients of samples
    are never made. `data` and keywords: see `Hessian`."""

    _psd = True

    def __init__(self, model: torch.nn.Module, loss_function: Loss, data: Any, **options: Unpack[Options]) -> None:
        super().__init__(lambda *given: _core.EmpiricalFisher(model, loss_function, *given), data, options)


@documented_by(_core.GradientCovariance)
class GradientCovariance(_DataOperator):
    """`data` and keywords: see `Hessian`."""

    _psd = True

    def __init__(self, model: torch.nn.Module, loss_function: Loss, data: Any, **options: Unpack[Options]) -> None:
        super().__init__(lambda *given: _core.GradientCovariance(model, loss_function, *given), data, options)

    @property
    def gradient(self) -> torch.Tensor:
        assert isinstance(self._over_data, _core.GradientCovariance)
        return self._over_data.gradient()


@documented_by(_core.Fisher)
class Fisher(_DataOperator):
    """`loss_function` is "cross_entropy", "binary_cross_entropy" (on logits), "mse" (a normal distribution of variance
    1/2), or torch's function or module of these. `type`: "exact", or "monte_carlo" with `draws` targets a sample, drawn
    by `seed`. Equal to `GaussNewton` of that loss, or in expectation. Keywords: see `Hessian`."""

    _psd = True

    def __init__(self, model: torch.nn.Module, loss_function: Loss | str, data: Any, type: str = "exact",
                 draws: int = 1, seed: int = 0, **options: Unpack[Options]) -> None:  # fmt: skip
        name = likelihood_of(loss_function, options.get("reduction", "mean"))
        chosen: dict[str, Any] = {"type": type, "draws": draws, "seed": seed}
        super().__init__(lambda batches, *given: _core.Fisher(model, name, batches, chosen, *given), data, options)
