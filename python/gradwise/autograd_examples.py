"""Examples that run: `python -m gradwise.autograd_examples` runs them all."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from . import _core
from ._checkpoint import checkpoint_sequential
from ._records import Record
from .autograd_utils import (
    AutogradOptimizer,
    AutogradTrainingLoop,
    CustomAutogradFunction,
    CustomLossFunction,
    GradientComputationUtils,
)

__all__ = ["AutogradAdvancedExamples", "AutogradTrainingExamples", "CustomAutogradExample"]


def _blobs(samples: int = 256, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Three clouds of points with their numbers."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.arange(samples) % 3
    centres = torch.tensor([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])
    return centres[classes] + torch.randn(samples, 2, generator=generator), classes


class CustomAutogradExample:
    """Functions with a backward of their own, each checked against central differences."""

    @staticmethod
    def _checked(function: Any, *inputs: torch.Tensor) -> bool:
        given = [x.double().requires_grad_() for x in inputs]
        utils = GradientComputationUtils
        return utils.gradcheck(function, given) and utils.gradgradcheck(function, given)

    @classmethod
    def custom_relu(cls) -> Record:
        x = torch.tensor([-1.5, -0.2, 0.3, 2.0])
        relu = CustomAutogradFunction.relu
        return Record(input=x, output=relu(x), checked=cls._checked(relu, x))

    @classmethod
    def custom_huber_loss(cls, delta: float = 1.0) -> Record:
        loss = CustomLossFunction.huber(delta)
        output, target = torch.tensor([0.2, 3.0, -4.0]), torch.tensor([0.0, 0.5, -1.0])
        return Record(loss=float(loss(output, target)), checked=cls._checked(loss, output, target))

    @classmethod
    def custom_linear(cls, bias: bool = True) -> Record:
        torch.manual_seed(0)
        inputs = [torch.randn(4, 3), torch.randn(2, 3)] + ([torch.randn(2)] if bias else [])
        return Record(
            output=CustomAutogradFunction.linear(*inputs), checked=cls._checked(CustomAutogradFunction.linear, *inputs)
        )

    @classmethod
    def custom_activation_in_a_model(cls, steps: int = 100) -> Record:
        """A leaky activation inside a model that is trained."""

        class Leaky(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return CustomAutogradFunction.leaky_relu(x, 0.1)

        torch.manual_seed(0)
        x, y = _blobs()
        model = nn.Sequential(nn.Linear(2, 16), Leaky(), nn.Linear(16, 3))
        optimizer = AutogradOptimizer(model, torch.optim.AdamW, lr=0.02)
        losses = [optimizer.step(nn.functional.cross_entropy, x, y).loss for _ in range(steps)]
        accuracy = float((model(x).argmax(1) == y).float().mean())
        checked = cls._checked(lambda t: CustomAutogradFunction.leaky_relu(t, 0.1), torch.tensor([-1.0, 0.4, 2.0]))
        return Record(first_loss=losses[0], last_loss=losses[-1], accuracy=accuracy, checked=checked)


class AutogradTrainingExamples:
    @staticmethod
    def basic_training(epochs: int = 5) -> Record:
        """A loop over epochs with validation."""
        torch.manual_seed(0)
        x, y = _blobs(600)
        training = [(x[i : i + 32], y[i : i + 32]) for i in range(0, 512, 32)]
        held_out = [(x[512:], y[512:])]
        model = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 3))
        loop = AutogradTrainingLoop(model, torch.optim.AdamW, lr=1e-2, options={"metrics": ["accuracy"]})
        history = [loop.train_epoch(training, nn.functional.cross_entropy) for _ in range(epochs)]
        validation = loop.validate(held_out, nn.functional.cross_entropy)
        return Record(
            losses=[sum(epoch.losses) / len(epoch.losses) for epoch in history],
            validation_loss=validation.validation_loss,
            accuracy=validation.metrics.accuracy,
        )

    @staticmethod
    def gradient_accumulation(micro_batches: int = 4) -> Record:
        """The same step by one large batch and by several small ones, the last of them shorter."""
        x, y = _blobs(100)

        def fresh() -> tuple[nn.Module, AutogradOptimizer]:
            torch.manual_seed(0)
            model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 3))
            return model, AutogradOptimizer(model, torch.optim.SGD, lr=0.1, weight_decay=0.0)

        large, whole = fresh()
        whole.step(nn.functional.cross_entropy, x, y)
        small, parts = fresh()
        size = -(-len(x) // micro_batches)
        for i in range(0, len(x), size):
            parts.accumulate(nn.functional.cross_entropy, x[i : i + size], y[i : i + size], micro_batches)
        parts.finish_step()
        pairs = zip(large.parameters(), small.parameters(), strict=True)
        apart = max(float((a - b).detach().abs().max()) for a, b in pairs)
        return Record(largest_difference=apart)


class AutogradAdvancedExamples:
    @staticmethod
    def second_order() -> Record:
        """The gradient of a gradient: x³ has second derivative 6x."""
        x = torch.tensor([1.0, 2.0, -3.0], requires_grad=True)
        first = GradientComputationUtils.gradients((x**3).sum(), x, create_graph=True)
        second = GradientComputationUtils.gradients(first.sum(), x)
        return Record(first=first.detach(), second=second, expected=6 * x.detach())

    @staticmethod
    def gradient_checkpointing(blocks: int = 24, width: int = 256, batch: int = 512) -> Record:
        """A deep network trained with and without checkpointing: equal gradients, and the peak memory of each."""
        torch.manual_seed(0)
        layers = [part for _ in range(blocks) for part in (nn.Linear(width, width), nn.Tanh())]
        model = nn.Sequential(*layers)
        x = torch.randn(batch, width)

        def measured(forward: Any) -> tuple[list[torch.Tensor], int]:
            model.zero_grad()
            with _core.PeakMemory() as memory:
                forward().square().mean().backward()
            return [p.grad.clone() for p in model.parameters() if p.grad is not None], memory.peak_bytes

        plain, plain_bytes = measured(lambda: model(x))
        saved, saved_bytes = measured(lambda: checkpoint_sequential(model, 6, x))
        equal = all(torch.equal(a, b) for a, b in zip(plain, saved, strict=True))
        return Record(peak_bytes=plain_bytes, peak_bytes_checkpointed=saved_bytes, equal_gradients=equal)


EXAMPLES = (
    CustomAutogradExample.custom_relu,
    CustomAutogradExample.custom_huber_loss,
    CustomAutogradExample.custom_linear,
    CustomAutogradExample.custom_activation_in_a_model,
    AutogradTrainingExamples.basic_training,
    AutogradTrainingExamples.gradient_accumulation,
    AutogradAdvancedExamples.second_order,
    AutogradAdvancedExamples.gradient_checkpointing,
)


def main() -> None:
    for example in EXAMPLES:
        print(example.__qualname__)
        for key, value in example().items():
            print(f"  {key}: {value}")


if __name__ == "__main__":
    main()
