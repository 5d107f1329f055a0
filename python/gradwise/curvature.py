"""Curvature of a loss on a batch: matrices that are known by their products, and what can be told of them.

    H = gradwise.curvature.Hessian(model, loss_function, (x, y))
    H.top_eigenvalues(3).eigenvalues, H.trace().value, H @ v
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from . import _core
from ._checks import check_tensors
from ._records import Record, record

__all__ = ["GaussNewton", "Hessian"]

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _batch(data: Any) -> tuple[torch.Tensor, torch.Tensor]:
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise TypeError(f"data is a {type(data).__name__}, allowed: a batch (x, y)")
    check_tensors(x=data[0], y=data[1])
    return data[0], data[1]


class LinearOperator:
    """A symmetric matrix over the trainable parameters, flattened in their order."""

    _psd = False

    def __init__(self, native: _core.LinearOperator) -> None:
        self._native = native

    @property
    def shape(self) -> tuple[int, int]:
        return (self._native.size(), self._native.size())

    def __matmul__(self, other: torch.Tensor) -> torch.Tensor:
        """The product with a vector (n) or a matrix of columns (n, k)."""
        n = self._native.size()
        if other.dim() not in (1, 2) or other.shape[0] != n:
            raise ValueError(f"the operand has shape {tuple(other.shape)}, allowed: ({n},) or ({n}, k)")
        return self._native.apply(other) if other.dim() == 1 else self._native.apply_columns(other)

    def top_eigenvalues(self, k: int = 1, tol: float = 1e-3, steps: int = 100, seed: int = 0) -> Record:
        """The k largest: `eigenvalues`, and `errors`, a bound on each one's distance to an eigenvalue (Lanczos)."""
        found = self._native.lanczos(k, steps, tol, seed)
        return record({"eigenvalues": found["values"][:k], "errors": found["errors"][:k], "products": found["products"]})

    def trace(self, products: int = 60, method: str | None = None, seed: int = 0) -> Record:
        """`value` and `standard_error`. `method`: hutchinson, hutch++, xtrace, or xnystrace for matrices that are
        positive semi-definite; by default the last of these that fits."""
        return record(self._native.trace(method or ("xnystrace" if self._psd else "xtrace"), products, seed))

    def diagonal(self, products: int = 60, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """The sampled diagonal and its standard errors."""
        return self._native.diagonal(products, seed)

    def spectral_density(self, steps: int = 40, vectors: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """Eigenvalues on a grid, and the density at each (stochastic Lanczos quadrature)."""
        pairs = torch.tensor(self._native.spectral_density(steps, vectors, seed), dtype=torch.float64)
        return pairs[:, 0], pairs[:, 1]


class Hessian(LinearOperator):
    """The Hessian of `loss_function(model(x), y)` on the batch `data = (x, y)`."""

    def __init__(self, model: torch.nn.Module, loss_function: Loss, data: tuple[torch.Tensor, torch.Tensor]) -> None:
        super().__init__(_core.Hessian(model, loss_function, *_batch(data)))

    @property
    def gradient(self) -> torch.Tensor:
        assert isinstance(self._native, _core.Hessian)
        return self._native.gradient()


class GaussNewton(LinearOperator):
    """The generalised Gauss-Newton matrix, positive semi-definite where the loss is convex in the output; for
    cross-entropy it is the Fisher matrix."""

    _psd = True

    def __init__(self, model: torch.nn.Module, loss_function: Loss, data: tuple[torch.Tensor, torch.Tensor]) -> None:
        super().__init__(_core.GaussNewton(model, loss_function, *_batch(data)))
