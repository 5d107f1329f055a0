"""The peak memory of each step, and PyTorch's profilers beside it."""

import math

import torch
from torch import nn
from torch.nn import functional

import gradwise
from gradwise.autograd_utils import AutogradTrainingLoop


def test_memory_of_the_steps_is_counted_where_that_is_asked_for():
    weight_bytes = 4 * 512 * 512
    told = []
    data = [(torch.randn(4, 512), torch.zeros(4, dtype=torch.long)) for _ in range(3)]

    def train(**options):
        told.clear()
        loop = AutogradTrainingLoop(nn.Linear(512, 512, bias=False), torch.optim.SGD, weight_decay=0, options=options)
        loop.on("step_end", lambda moment: told.append(moment.step_stats.peak_bytes))
        return loop.train_epoch(data, functional.cross_entropy)

    peak = train(measure_memory=True).peak_bytes
    assert len(told) == 3 and max(told) == peak
    assert all(weight_bytes <= bytes < 1.5 * weight_bytes for bytes in told), "the gradient is most of it"
    assert math.isnan(train().peak_bytes)
    with torch.profiler.profile() as profile:
        assert math.isnan(train(measure_memory=True).peak_bytes), "a profiler has the allocators' reports"
    assert any(event.name == "aten::linear" for event in profile.events())
    with torch.profiler.profile() as profile, gradwise._core.PeakMemory() as memory:
        kept = torch.ones(1000)
    assert memory.peak_bytes == 4 * kept.numel()
    assert not any(event.name == "aten::ones" for event in profile.events())


def test_a_profiler_that_a_callback_steps_goes_with_the_counting_of_memory():
    data = [(torch.randn(4, 3), torch.zeros(4, dtype=torch.long)) for _ in range(5)]
    loop = AutogradTrainingLoop(nn.Linear(3, 2), options={"measure_memory": True})
    told = []
    with torch.profiler.profile(schedule=torch.profiler.schedule(wait=0, warmup=2, active=2, repeat=1)) as profile:

        def tell(moment):
            told.append(moment.step_stats.peak_bytes)
            profile.step()

        loop.on("step_end", tell)
        loop.train_epoch(data, functional.cross_entropy)
    assert len(told) == 5 and told[0] > 0 and math.isnan(told[3]), "a profiler has the allocators' reports"
    assert any(event.name == "aten::linear" for event in profile.events())
