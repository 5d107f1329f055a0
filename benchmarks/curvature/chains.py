"""Rows of planned checkpoints: chains of unlike and of like stages beside equal segments, a deep residual network in
half of its memory, and the time that a long plan takes."""

import time

import torch
from curvature.contest import Contest
from curvature.networks import Case
from torch import nn

import gradwise
from gradwise import _core


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm beside a shortcut."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        stride = 1 if channels == width else 2
        self.inside = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip
        self.shortcut: nn.Module = nn.Identity()
        if channels != width:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        return (self.inside(x) + self.shortcut(x)).relu()


def residual_network(blocks: int) -> nn.Sequential:
    """Of 6 `blocks` + 2 layers, for images of 32x32: He et al. 2016, "Deep Residual Learning", section 4.2."""
    widths = [16] * (blocks + 1) + [32] * blocks + [64] * blocks
    first = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
    last = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    return nn.Sequential(first, *(Block(a, b) for a, b in zip(widths, widths[1:], strict=False)), last)


def vgg16(scale: int) -> nn.Sequential:
    """Its convolutions, of widths divided by `scale`, with batch norm: stages whose memory and time differ by a hundred.
    Simonyan and Zisserman 2015, "Very Deep Convolutional Networks", table 1, column D."""
    stages: list[nn.Module] = []
    channels = 3
    for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            made = width // scale
            stages.append(nn.Sequential(nn.Conv2d(channels, made, 3, 1, 1), nn.BatchNorm2d(made), nn.ReLU()))
            channels = made
        stages.append(nn.MaxPool2d(2))
    stages.append(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000)))
    return nn.Sequential(*stages)


class Chain:
    """Stages with gradients of their weights in place, as in every step but the first."""

    def __init__(self, make, batch: int, width: int) -> None:
        torch.manual_seed(0)
        self.stages = make()
        self.x = torch.randn(batch, 3, width, width)
        for parameter in self.stages.parameters():
            parameter.grad = torch.zeros_like(parameter)

    def step(self, forward) -> None:
        forward(self.x).square().mean().backward()

    def peak(self, forward) -> int:
        with _core.PeakMemory() as memory:
            self.step(forward)
        return memory.peak_bytes

    def gradients(self, forward) -> list[torch.Tensor]:
        for parameter in self.stages.parameters():
            parameter.grad.zero_()
        self.step(forward)
        return [parameter.grad.clone() for parameter in self.stages.parameters()]

    def check(self, forward) -> None:
        for left, right in zip(self.gradients(forward), self.gradients(self.stages), strict=True):
            if not torch.equal(left, right):
                raise ValueError("planned chain: the gradients differ")


def contest_of(chain: Chain, plan, name: str, other, most_bytes: float) -> Contest:
    ours, theirs = chain.peak(plan), chain.peak(other)
    return Contest(
        lambda: chain.step(plan), {name: lambda: chain.step(other)}, lambda: chain.check(plan),
        fewer=(ours, most_bytes),
        notes=[f"peak {ours / 2**20:.1f} MiB beside {theirs / 2**20:.1f}, foretold {plan.peak_bytes / 2**20:.1f}; "
               f"{plan.seconds / plan.least_seconds:.2f} of the plain step's time foretold"],
    )  # fmt: skip


def beside_two_segments(chain: Chain) -> Contest:
    """Within the memory of two equal segments, those of PyTorch's own example."""

    def in_segments(x):
        return gradwise.checkpoint_sequential(chain.stages, 2, x)

    budget = chain.peak(in_segments)
    plan = gradwise.plan_checkpoints(chain.stages, chain.x, budget, repeats=9)
    return contest_of(chain, plan, "2 equal segments", in_segments, 1.01 * budget)


def planned_chain(_: Case | None, quick: bool) -> Contest:
    """Unlike stages."""
    return beside_two_segments(Chain(lambda: vgg16(4 if quick else 1), 2, 224))


def resnet_56(quick: bool) -> Chain:
    return Chain(lambda: residual_network(3 if quick else 9), 128, 32)


def planned_residual_chain(_: Case | None, quick: bool) -> Contest:
    """Stages that are nearly alike."""
    return beside_two_segments(resnet_56(quick))


def half_of_the_memory(_: Case | None, quick: bool) -> Contest:
    chain = resnet_56(quick)
    half = chain.peak(chain.stages) // 2
    plan = gradwise.plan_checkpoints(chain.stages, chain.x, half, repeats=9)
    return contest_of(chain, plan, "all kept", chain.stages, 1.01 * half)


def plan_of_500_stages(_: Case | None, quick: bool) -> Contest:
    """500 memory slots, the measurement of the stages included, beside a second."""
    stages = [torch.tanh if i % 3 else torch.sin for i in range(500)]
    x = torch.randn(256, 256, requires_grad=True)

    def ours():
        return gradwise.plan_checkpoints(stages, x, 100 * x.nbytes, slots=500, repeats=1)

    def check():
        if ours().peak_bytes > 100 * x.nbytes:
            raise ValueError("the plan takes more than its budget")

    return Contest(ours, {"a second": lambda: time.sleep(1)}, check)
