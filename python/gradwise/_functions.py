"""Custom functions and losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from . import _core
from ._checks import check_tensors
from ._documented import documented_by


@documented_by(_core.matrix_product)
class CustomAutogradFunction:
    """`apply(input_tensor, weight)`: (..., m, k) times (..., k, n)."""

    @staticmethod
    def apply(input_tensor: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        check_tensors(input_tensor=input_tensor, weight=weight)
        return _core.matrix_product(input_tensor, weight)

    @staticmethod
    @documented_by(_core.custom_relu)
    def relu(input: torch.Tensor) -> torch.Tensor:
        check_tensors(input=input)
        return _core.custom_relu(input)

    @staticmethod
    def leaky_relu(input: torch.Tensor, negative_slope: float = 0.01) -> torch.Tensor:
        check_tensors(input=input)
        return _core.custom_leaky_relu(input, negative_slope)

    @staticmethod
    def linear(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        check_tensors(input=input, weight=weight, **({} if bias is None else {"bias": bias}))
        return _core.custom_linear(input, weight, bias)

    @staticmethod
    def activation(input: torch.Tensor, value: Callable[[torch.Tensor], torch.Tensor],
                   derivative: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:  # fmt: skip
        """An activation of your own, from its value and its derivative, both written with PyTorch's operators."""
        check_tensors(input=input)
        return _core.custom_activation(input, value, derivative)


@documented_by(_core.CustomLossFunction)
class CustomLossFunction:
    """Differentiable twice. Call one with its inputs:

    loss_function = CustomLossFunction.huber(delta=0.5)
    loss = loss_function(output, target)
    """

    def __init__(self, native: Any, name: str) -> None:
        self._native = native
        self._name = name

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        check_tensors(**{f"input {i}": value for i, value in enumerate(inputs)})
        loss: torch.Tensor = self._native(list(inputs))
        return loss

    def __repr__(self) -> str:
        return f"CustomLossFunction.{self._name}"

    @classmethod
    def huber(cls, delta: float = 1.0, reduction: str = "mean") -> CustomLossFunction:
        """e²/2 where |e| <= delta, else delta (|e| - delta/2)."""
        return cls(_core.huber_loss(delta, reduction), f"huber(delta={delta})")

    @classmethod
    def focal(cls, gamma: float = 2.0, alpha: float | None = None, reduction: str = "mean") -> CustomLossFunction:
        """Logits (N, C, ...) with classes (N, ...), or logits and floating targets of one shape."""
        return cls(_core.focal_loss(gamma, -1.0 if alpha is None else alpha, reduction), f"focal(gamma={gamma})")

    @classmethod
    def label_smoothed_cross_entropy(
        cls, smoothing: float = 0.1, ignore_index: int = -100, reduction: str = "mean"
    ) -> CustomLossFunction:
        return cls(
            _core.label_smoothed_cross_entropy(smoothing, ignore_index, reduction),
            f"label_smoothed_cross_entropy(smoothing={smoothing})",
        )

    @classmethod
    def contrastive(cls, margin: float = 1.0, reduction: str = "mean") -> CustomLossFunction:
        """Called with a (N, D), b (N, D) and `same` (N): 1 for pairs of a kind, 0 for others."""
        return cls(_core.contrastive_loss(margin, reduction), f"contrastive(margin={margin})")

    @classmethod
    def triplet(
        cls, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, reduction: str = "mean"
    ) -> CustomLossFunction:
        """Called with anchor, positive and negative (N, D)."""
        return cls(_core.triplet_loss(margin, p, eps, reduction), f"triplet(margin={margin})")
