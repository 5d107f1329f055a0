"""A matrix that is known by its products, and what can be told of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from . import _core
from ._checks import check_tensors
from ._documented import documented_by
from ._records import Record, record
from ._spectral_density import SpectralDensity


@documented_by(_core.LinearOperator)
class LinearOperator:
    """Over the trainable parameters, flattened in their order; or any, by `from_matrix` and `from_function`. Each
    estimator gives a `Record` with its error and the number of products, and the same figures for the same options.
    `tol` is what it stops at, `products` the most it makes."""

    _psd = False

    def __init__(self, native: _core.LinearOperator) -> None:
        self._native = native

    def __repr__(self) -> str:
        n = self._native.size()
        return f"<gradwise.{type(self).__name__}, {n:,} x {n:,}>"

    @property
    def shape(self) -> tuple[int, int]:
        return (self._native.size(), self._native.size())

    def __matmul__(self, other: torch.Tensor) -> torch.Tensor:
        """The product with a vector (n) or a matrix of columns (n, k)."""
        check_tensors(operand=other)
        n = self._native.size()
        if other.dim() not in (1, 2) or other.shape[0] != n:
            raise ValueError(f"the operand has shape {tuple(other.shape)}, allowed: ({n},) or ({n}, k)")
        return self._native.apply(other) if other.dim() == 1 else self._native.apply_columns(other)

    def eigenpairs(
        self,
        largest: int = 1,
        smallest: int = 0,
        tol: float = 1e-6,
        products: int = 1000,
        block: int = 1,
        basis: int = 0,
        seed: int = 0,
        tol_of: str = "residual",
        method: str = "lanczos",
        preconditioner: LinearOperator | None = None,
    ) -> Record:
        """Eigenpairs at the ends of the spectrum: `eigenvalues`, a list in descending
        order, the largest, then the smallest; `eigenvectors` (n, k), float64; `residuals`, |A v - value v| of each, so
        that an eigenvalue is that near; `errors` of the eigenvalues alone, as far as the gaps between them are known;
        `products`, `restarts`, `converged`. `tol` is relative to the largest magnitude, and bounds the residuals or, by
        `tol_of="value"`, the errors. An eigenvalue that occurs m times needs `block` >= m to be found m times. `basis`:
        vectors that are kept, 0 for as many as do well. `method`: lanczos, with thick restarts, or lobpcg, which takes
        a `preconditioner`, an operator that is positive definite and, for the smallest of a definite matrix, like its
        inverse; without one Lanczos takes fewer products."""
        options = {
            "largest": largest, "smallest": smallest, "tolerance": tol, "products": products, "block": block,
            "basis": basis, "seed": seed, "tolerance_of": tol_of, "method": method,
        }  # fmt: skip
        if preconditioner is not None and not isinstance(preconditioner, LinearOperator):
            raise TypeError(f"preconditioner is a {type(preconditioner).__name__}, allowed: a LinearOperator")
        return record(self._native.eigenpairs(options, None if preconditioner is None else preconditioner._native))

    def top_eigenvalues(
        self,
        k: int = 1,
        tol: float = 1e-3,
        *,
        products: int = 1000,
        seed: int = 0,
        eigenvectors: bool = False,
        method: str = "lanczos",
    ) -> Record:
        """The k largest: `eigenvalues`, and `errors`, each one's distance to an eigenvalue; `products`, `converged`,
        and `eigenvectors` (n, k) where they are asked for. `method` as for `eigenpairs`."""
        found = self.eigenpairs(k, tol=tol, products=products, seed=seed, tol_of="value", method=method)
        kept = Record({key: found[key] for key in ("eigenvalues", "errors", "products", "converged")})
        if eigenvectors:
            kept["eigenvectors"] = found.eigenvectors
        return kept

    def trace(
        self, tol: float | None = None, *, products: int | None = None, method: str | None = None, seed: int = 0
    ) -> Record:
        """`value`, `standard_error`, and `low` and `high`, the ends of the 95 % interval; `samples`, `products`,
        `converged`. `method`: hutchinson, hutch++, xtrace, or xnystrace for matrices that are positive semi-definite;
        by default the last of these that fits. With `tol` the number of products grows until half of the interval is
        within `tol` of the value, up to 1000; without it 60 are made."""
        return record(self._native.trace(method or self._sketched(), sampled(products, tol, seed)))

    def diagonal(
        self, tol: float | None = None, *, products: int | None = None, method: str = "xdiag", seed: int = 0
    ) -> Record:
        """The sampled diagonal: `diagonal` and `standard_errors` (n), `samples`, `products`, `converged`. `method`:
        xdiag or hutchinson. `tol` as for `trace`, for the norms of errors and values."""
        return record(self._native.diagonal(method, sampled(products, tol, seed)))

    def frobenius_norm(self, tol: float | None = None, *, products: int | None = None, seed: int = 0) -> Record:
        """The root of the sum of squares of all entries, with the keys of `trace`."""
        return record(self._native.frobenius_norm(sampled(products, tol, seed)))

    def log_determinant(self, damping: float = 0.0, steps: int = 40, vectors: int | None = None, *, seed: int = 0,
                        tol: float | None = None) -> Record:  # fmt: skip
        """log det(A + damping I) by stochastic Lanczos quadrature, with the keys of `trace`. The standard error is over
        the random vectors, 10 of them; more `steps` are needed where the condition number is large. With `tol` the
        number of vectors grows until half of the interval is within `tol` of the value, up to 160."""
        return record(self._native.log_determinant(damping, quadrature(steps, vectors, 10, seed, tol)))

    def condition_number(
        self, damping: float = 0.0, tol: float = 1e-8, products: int = 1000, block: int = 1, seed: int = 0
    ) -> Record:
        """Of A + damping I, positive definite: `value`, `low` and `high` that the residuals leave room for, `largest`
        and `smallest` eigenvalue, `products`, `converged`."""
        options = {"tolerance": tol, "products": products, "block": block, "seed": seed}
        return record(self._native.condition_number(damping, options))

    def spectral_density(self, steps: int = 40, vectors: int | None = None, *, seed: int = 0, points: int = 200,
                         width: float = 0.01, tol: float | None = None) -> SpectralDensity:  # fmt: skip
        """Stochastic Lanczos quadrature from 4 random vectors: `eigenvalues`, a grid of `points`; `density` and
        `standard_errors` at each, as tensors; `samples`, `products`, `converged`; `plot()`. `width`: of the Gaussian,
        over the range of the spectrum. With `tol` the number of vectors grows until half of the 95 % band is nowhere
        wider than `tol` times the density's peak, up to 160."""
        found = self._native.spectral_density(
            quadrature(steps, vectors, 4, seed, tol), {"points": points, "width": width}
        )
        grids = ("eigenvalues", "density", "standard_errors")
        return SpectralDensity(record(found | {key: torch.tensor(found[key], dtype=torch.float64) for key in grids}))

    def solve(
        self, b: torch.Tensor, tol: float = 1e-6, damping: float = 0.0, method: str = "cg", products: int = 1000
    ) -> Record:
        """`x` (n), float64. "cg": of (A + damping I) x = b, for a matrix that is positive definite with the damping;
        "lsmr": of least |A x - b|^2 + damping^2 |x|^2, for any. `residual` over that of x = 0, `normal` (lsmr: what is
        left of the normal equations), `iterations`, `products`, `converged`."""
        check_tensors(b=b)
        return record(self._native.solve(b, method, {"tolerance": tol, "damping": damping, "products": products}))

    def _sketched(self) -> str:
        return "xnystrace" if self._psd else "xtrace"


def sampled(products: int | None, tol: float | None, seed: int) -> dict[str, Any]:
    most = products if products is not None else 60 if tol is None else 1000
    return {"products": most, "seed": seed, "tolerance": 0.0 if tol is None else tol}


def quadrature(steps: int, vectors: int | None, usual: int, seed: int, tol: float | None) -> dict[str, Any]:
    most = vectors if vectors is not None else usual if tol is None else 160
    return {"steps": steps, "vectors": most, "seed": seed, "tolerance": 0.0 if tol is None else tol}


def from_matrix(matrix: torch.Tensor) -> LinearOperator:
    """A symmetric matrix (n, n) that is there in full; its memory is shared."""
    check_tensors(matrix=matrix)
    return LinearOperator(_core.MatrixOperator(matrix))


def from_function(
    function: Callable[[torch.Tensor], torch.Tensor],
    n: int,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> LinearOperator:
    """A symmetric matrix (n, n) from a function that multiplies a vector (n) by it."""
    return LinearOperator(_core.FunctionOperator(function, n, dtype, torch.device(device)))
