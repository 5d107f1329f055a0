"""Rows of planned checkpoints: a chain of unequal stages beside equal segments, a deep residual network in half of its
memory, and the time that a long plan takes."""

import time

import torch
from curvature.contest import Contest
from curvature.networks import Case
from torch import nn

import gradwise
from gradwise import _core


class Residual(nn.Module):
    """x + outer(tanh(inner(x))): memory and time go with the width inside."""

    def __init__(self, width: int, inside: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(width, inside), nn.Linear(inside, width)

    def forward(self, x):
        return x + self.outer(self.inner(x).tanh())


class Chain:
    """Stages with gradients of their weights in place, as in every step but the first."""

    def __init__(self, insides: list[int], width: int = 128, batch: int = 512) -> None:
        torch.manual_seed(0)
        self.stages = nn.Sequential(*(Residual(width, inside) for inside in insides))
        self.x = torch.randn(batch, width)
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
    """Within the memory of the equal segments that take the least."""
    chain = Chain([64, 2048, 64, 64, 1024, 64, 64, 64, 2048, 64, 128, 1024] * (1 if quick else 2))

    def in_segments(segments):
        return lambda x: gradwise.checkpoint_sequential(chain.stages, segments, x)

    peaks = {segments: chain.peak(in_segments(segments)) for segments in range(2, len(chain.stages))}
    segments = min(peaks, key=lambda count: peaks[count])
    plan = gradwise.plan_checkpoints(chain.stages, chain.x, peaks[segments], repeats=9)
    return contest_of(chain, plan, f"{segments} equal segments", in_segments(segments), 1.01 * peaks[segments])


def half_of_the_memory(_: Case | None, quick: bool) -> Contest:
    chain = Chain([256] * (24 if quick else 64))
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
