"""A base for losses of the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .errors import GradwiseUsageError

_REDUCTIONS = ("mean", "sum", "none")


class LossDefinition(torch.nn.Module):
    """A loss with a backward of its own, as a module of torch's: derive from it, and write two functions.

    class LogCosh(LossDefinition):
        def losses(self, input, target):
            return (input - target).cosh().log()

        def gradients(self, grad_losses, needed, input, target):
            slope = (input - target).tanh() * grad_losses
            return slope, -slope if needed[1] else None

    loss_function = LogCosh(reduction="mean")
    loss = loss_function(output, target)

    Both functions use operators that torch can differentiate: the second order goes through them. Inputs are tensors.
    """

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in _REDUCTIONS:
            raise ValueError(f"reduction is {reduction!r}, allowed: {', '.join(_REDUCTIONS)}")
        self.reduction = reduction

    def check(self, *inputs: torch.Tensor) -> None:
        """Raises an error where the inputs' number, shapes or types do not fit."""

    def losses(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The losses, one an element or a sample."""
        raise NotImplementedError(f"{type(self).__name__} has no losses(*inputs)")

    def gradients(
        self, grad_losses: torch.Tensor, needed: Sequence[bool], *inputs: torch.Tensor
    ) -> Sequence[torch.Tensor | None]:
        """The gradients of sum(grad_losses * losses(*inputs)), one an input; None where `needed` is False, or where
        there is none."""
        raise NotImplementedError(f"{type(self).__name__} has no gradients(grad_losses, needed, *inputs)")

    def count(self, losses: torch.Tensor, *inputs: torch.Tensor) -> torch.Tensor | int:
        """What the mean divides the sum by: the number of losses, unless some of them do not count."""
        return losses.numel()

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        self.check(*inputs)
        losses: torch.Tensor = _OwnBackward.apply(self, *inputs)  # type: ignore[no-untyped-call]
        if self.reduction == "none":
            return losses
        if self.reduction == "sum":
            return losses.sum()
        # The sum of 16-bit losses may lie beyond their range where the mean does not.
        wide = losses.float() if losses.dtype in (torch.float16, torch.bfloat16) else losses
        return (wide.sum() / self.count(wide, *inputs)).to(losses.dtype)

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}"


class _OwnBackward(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(definition: LossDefinition, *inputs: torch.Tensor) -> torch.Tensor:
        return definition.losses(*inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        ctx.definition = inputs[0]
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> Any:
        inputs, needed = ctx.saved_tensors, ctx.needs_input_grad[1:]
        found = ctx.definition.gradients(grad_outputs[0], needed, *inputs)
        name = type(ctx.definition).__name__
        if not isinstance(found, (tuple, list)) or len(found) != len(inputs):
            given = len(found) if isinstance(found, (tuple, list)) else type(found).__name__
            raise GradwiseUsageError(
                f"[loss] {name}.gradients gave {given}, allowed: a tuple of {len(inputs)}, one an input"
            )
        for place, (gradient, value) in enumerate(zip(found, inputs, strict=True)):
            if needed[place] and gradient is not None and gradient.shape != value.shape:
                raise GradwiseUsageError(
                    f"[loss] {name}.gradients gave {tuple(gradient.shape)} for input {place} of {tuple(value.shape)}, "
                    "allowed: the same shape"
                )
        return (None, *(gradient if wanted else None for gradient, wanted in zip(found, needed, strict=True)))
