"""Rows of planned checkpoints: a deep residual network beside equal segments and in half of its memory, and the time
that a long plan takes."""

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


class Chain:
    """Stages with gradients of their weights in place, as in every step but the first."""

    def __init__(self, blocks: int, batch: int = 128) -> None:
        torch.manual_seed(0)
        self.stages = residual_network(blocks)
        self.x = torch.randn(batch, 3, 32, 32)
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


def planned_chain(_: Case | None, quick: bool) -> Contest:
    """Within the memory of two equal segments, those of PyTorch's own example."""
    chain = Chain(3 if quick else 9)

    def in_segments(segments):
        return lambda x: gradwise.checkpoint_sequential(chain.stages, segments, x)

    budgets = {segments: chain.peak(in_segments(segments)) for segments in range(2, 12)}
    plan = gradwise.plan_checkpoints(chain.stages, chain.x, budgets[2], repeats=9)
    contest = contest_of(chain, plan, "2 equal segments", in_segments(2), 1.01 * budgets[2])
    least = min(budgets, key=lambda count: budgets[count])
    # A plan counts random states for every stage, where segments hold one or two each.
    smallest = gradwise.plan_checkpoints(chain.stages, chain.x, round(1.01 * budgets[least]), repeats=9)
    contest.notes.append(
        f"{smallest.seconds / smallest.least_seconds:.2f} foretold in the memory of {least}, which take the least"
    )
    return contest


def half_of_the_memory(_: Case | None, quick: bool) -> Contest:
    chain = Chain(3 if quick else 9)
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
