"""Gradients of any order."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from . import _core
from ._checks import check_tensors
from ._forward_mode import warn_of_fallback


def _several(name: str, value: Any) -> list[torch.Tensor]:
    """A tensor, or several, as a list."""
    if isinstance(value, torch.Tensor):
        return [value]
    if not isinstance(value, Iterable):
        raise TypeError(f"{name} is a {type(value).__name__}, allowed: a torch.Tensor or several")
    several = list(value)
    check_tensors(**{f"{name}[{i}]": item for i, item in enumerate(several)})
    return several


def _like(given: Any, results: Sequence[torch.Tensor]) -> Any:
    return results[0] if isinstance(given, torch.Tensor) else tuple(results)


def _warn_of_single_precision(place: str, inputs: Sequence[torch.Tensor]) -> None:
    for i, tensor in enumerate(inputs):
        if isinstance(tensor, torch.Tensor) and tensor.requires_grad and tensor.dtype != torch.float64:
            warnings.warn(
                f"[{place}] input {i} is of {tensor.dtype}: differences of less than float64 will likely not agree",
                stacklevel=3,
            )


class GradientComputationUtils:
    """Gradients of any order, of functions and of models. Where one tensor goes in, one comes out."""

    @staticmethod
    def gradients(outputs: Any, inputs: Any, grad_outputs: Any = None, create_graph: bool = False,
                  retain_graph: bool = False) -> Any:  # fmt: skip
        """Gradients with respect to `inputs`; zeros where nothing depends on one. `.grad` stays as it is."""
        weights = [] if grad_outputs is None else _several("grad_outputs", grad_outputs)
        of, by = _several("outputs", outputs), _several("inputs", inputs)
        return _like(inputs, _core.gradients(of, by, weights, create_graph, retain_graph))

    @staticmethod
    def jacobian(function: Callable[..., Any], inputs: Any, mode: str = "automatic",
                 chunk_size: int | None = None, memory_bound: int = 0) -> Any:  # fmt: skip
        """Of `function(*inputs)`: output shape + input shape, one an input. `mode`: automatic, reverse, forward.

        `chunk_size` rows (columns) are computed at once, or as many as take up to `memory_bound` bytes beside the
        result; 0: no bound.
        """
        primals = _several("inputs", inputs)
        which = list(range(len(primals)))
        return _like(inputs, _core.jacobian(function, primals, which, mode, chunk_size, memory_bound))

    @staticmethod
    def hessian(function: Callable[..., torch.Tensor], inputs: Any, chunk_size: int | None = None,
                memory_bound: int = 0) -> Any:  # fmt: skip
        """Second derivatives of a scalar function; of several inputs a tuple of rows of blocks. `chunk_size` and
        `memory_bound` as of `jacobian`."""
        primals = _several("inputs", inputs)
        found = _core.hessian(function, primals, list(range(len(primals))), chunk_size, memory_bound)
        if isinstance(inputs, torch.Tensor):
            return found[0]
        n = len(primals)
        return tuple(tuple(found[row * n + column] for column in range(n)) for row in range(n))

    @staticmethod
    def vjp(function: Callable[..., Any], inputs: Any, cotangents: Any) -> tuple[Any, Any]:
        """The function's value, and cotangents times its Jacobian."""
        outputs, found = _core.vjp(function, _several("inputs", inputs), _several("cotangents", cotangents))
        return _like(cotangents, outputs), _like(inputs, found)

    @staticmethod
    def jvp(function: Callable[..., Any], inputs: Any, tangents: Any) -> tuple[Any, Any]:
        """The function's value, and its Jacobian times the tangents. Where something in it has no forward derivative,
        two backward passes make them, and a warning says so."""
        outputs, found, reason = _core.jvp(function, _several("inputs", inputs), _several("tangents", tangents))
        warn_of_fallback("jvp", reason)
        single = len(outputs) == 1
        return (outputs[0], found[0]) if single else (tuple(outputs), tuple(found))

    @staticmethod
    def hessian_vector_product(function: Callable[..., torch.Tensor], inputs: Any, vectors: Any) -> tuple[Any, Any]:
        """The value of a scalar function, and its Hessian times the vectors."""
        value, _, products = _core.hvp(function, _several("inputs", inputs), _several("vectors", vectors))
        return value, _like(inputs, products)

    @staticmethod
    def gradient_norm(model: torch.nn.Module, norm_type: float = 2.0) -> float:
        """Global norm of the gradients that the parameters hold."""
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        return float(torch.nn.utils.get_total_norm(gradients, norm_type))

    @staticmethod
    def layer_gradient_norms(model: torch.nn.Module, norm_type: float = 2.0) -> dict[str, float]:
        """The norm of each parameter's gradient, by name."""
        return {
            name: float(torch.linalg.vector_norm(p.grad, norm_type))
            for name, p in model.named_parameters()
            if p.grad is not None
        }

    @staticmethod
    def clip_gradients(model: torch.nn.Module, max_norm: float = 1.0, method: str = "norm", *,
                       agc_lambda: float = 0.01, agc_eps: float = 1e-3) -> float:  # fmt: skip
        """In place; gives the norm before. `method`: "norm", to a global norm; "value", element by element to
        [-max_norm, max_norm]; "agc", each unit (a row along dimension 0) to `agc_lambda` times the norm of its weights,
        of which `agc_eps` is the least that counts (Brock et al. 2021)."""
        if method not in ("norm", "value", "agc"):
            raise ValueError(f"method is {method!r}, allowed: 'norm', 'value', 'agc'")
        bound = {"norm": {"max_norm": max_norm}, "value": {"max_value": max_norm}}.get(method, {})
        options = {"method": method, "agc_lambda": agc_lambda, "agc_eps": agc_eps} | bound
        return _core.clip_gradients(list(model.parameters()), options)

    @staticmethod
    def accumulate_gradients(loss: torch.Tensor, model: torch.nn.Module, weight: float = 1.0) -> None:
        """Adds `weight` times the loss's gradients to what the parameters hold: a mini-batch in parts is each part's
        mean loss with its share of the samples as weight."""
        _core.accumulate_gradients(loss, list(model.parameters()), weight)

    @staticmethod
    def gradient_penalty(output: torch.Tensor, input: torch.Tensor, target: float = 1.0) -> torch.Tensor:
        """Mean of (norm of the output's gradient by the input - target)², differentiable (WGAN-GP)."""
        check_tensors(output=output, input=input)
        return _core.gradient_penalty(output, input, target)

    @staticmethod
    def gradcheck(function: Callable[..., Any], inputs: Any, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3,
                  nondet_tol: float = 0.0, check_undefined_grad: bool = True,
                  raise_exception: bool = True) -> bool:  # fmt: skip
        """Gradients against central differences; arguments as `torch.autograd.gradcheck`. Warns of an input that is not
        of float64, as that does."""
        tensors = _several("inputs", inputs)
        _warn_of_single_precision("gradcheck", tensors)
        return _core.gradcheck(function, tensors, eps, atol, rtol, nondet_tol, check_undefined_grad, raise_exception)

    @staticmethod
    def gradgradcheck(function: Callable[..., Any], inputs: Any, eps: float = 1e-6, atol: float = 1e-5,
                      rtol: float = 1e-3, nondet_tol: float = 0.0, check_undefined_grad: bool = True,
                      raise_exception: bool = True) -> bool:  # fmt: skip
        """The same of second derivatives."""
        tensors = _several("inputs", inputs)
        _warn_of_single_precision("gradgradcheck", tensors)
        return _core.gradgradcheck(
            function, tensors, eps, atol, rtol, nondet_tol, check_undefined_grad, raise_exception
        )
