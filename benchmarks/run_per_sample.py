#!/usr/bin/env python3
"""Per-sample gradients and their norms beside torch.func, Opacus and BackPACK (where they can be imported).

    cmake --build build --target gradwise_python
    .venv/bin/python benchmarks/run_per_sample.py           # about a minute on two cores

The ways take turns in one process; a ratio is of one round, and the table shows the median, the least and the largest
over the rounds. Other work on the machine spoils the figures.
"""

import argparse
import pathlib
import statistics
import sys
import time

import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "build/python"))
import gradwise  # noqa: E402

SAMPLES = 256

# (model, ours, beside, at most); "fastest" is the fastest peer of the round that makes whole gradients.
TARGETS = [
    ("mlp", "ours", "fastest", 0.25),
    ("cnn", "ours", "fastest", 0.80),
    ("mlp", "ours, norms", "backpack, norms", 0.70),
    ("cnn", "ours, norms", "gradient", 1.15),
]
PEERS = ("functorch", "opacus", "backpack")


def mlp():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 256), nn.Tanh(), nn.Linear(256, 256), nn.Tanh(), nn.Linear(256, 10)
    )


def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(1568, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


def gradient_of(model, x, y):
    parameters = list(model.parameters())
    return lambda: torch.autograd.grad(functional.cross_entropy(model(x), y), parameters)


def functorch_of(model, x, y):
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(parameters, x, y):
        return functional.cross_entropy(functional_call(model, parameters, (x.unsqueeze(0),)), y.unsqueeze(0))

    per_sample = vmap(grad(loss), (None, 0, 0))
    return lambda: per_sample(parameters, x, y)


def opacus_of(model, x, y):
    from opacus import GradSampleModule

    wrapped = GradSampleModule(model, loss_reduction="sum")

    def step():
        functional.cross_entropy(wrapped(x), y, reduction="sum").backward()
        found = [p.grad_sample for p in wrapped.parameters()]
        wrapped.zero_grad(set_to_none=True)
        return found

    return step


def backpack_of(model, x, y, norms):
    from backpack import backpack, extend
    from backpack.extensions import BatchGrad, BatchL2Grad

    extended, loss = extend(model), extend(nn.CrossEntropyLoss(reduction="sum"))
    extension, field = (BatchL2Grad, "batch_l2") if norms else (BatchGrad, "grad_batch")

    def step():
        with backpack(extension()):
            loss(extended(x), y).backward()
        found = [getattr(p, field) for p in extended.parameters()]
        extended.zero_grad(set_to_none=True)
        return found

    return step


def ways_of(make):
    torch.manual_seed(0)
    model = make()
    x, y = torch.randn(SAMPLES, 1, 28, 28), torch.randint(0, 10, (SAMPLES,))
    per_sample = gradwise.PerSampleGradients(model, functional.cross_entropy)

    def copied():
        copy = make()
        copy.load_state_dict(model.state_dict())
        return copy

    ways = {
        "gradient": gradient_of(model, x, y),
        "ours": lambda: per_sample.gradients(x, y),
        "ours, norms": lambda: per_sample.norms(x, y),
        "functorch": functorch_of(model, x, y),
    }
    optional = {
        "opacus": lambda: opacus_of(copied(), x, y),
        "backpack": lambda: backpack_of(copied(), x, y, norms=False),
        "backpack, norms": lambda: backpack_of(copied(), x, y, norms=True),
    }
    for name, make_way in optional.items():
        try:
            ways[name] = make_way()
        except ImportError:
            print(f"{name.split(',')[0]} is not installed: left out")
    expected = ways["functorch"]()
    for name, found in ways["ours"]().items():  # the same figures, or no comparison
        torch.testing.assert_close(found, expected[name], rtol=1e-3, atol=1e-5)
    if per_sample.loop_reason:
        sys.exit(f"Gradwise took the slow way: {per_sample.loop_reason}")
    return ways


def measure(ways, rounds):
    seconds = {name: [] for name in ways}
    for turn in range(rounds + 3):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if turn >= 3:
                seconds[name].append(time.perf_counter() - start)
    seconds["fastest"] = [min(times) for times in zip(*(seconds[peer] for peer in PEERS if peer in seconds))]
    return seconds


def print_ratio(model, ours, beside, seconds, at_most):
    ratios = [a / b for a, b in zip(seconds[ours], seconds[beside])]
    median = statistics.median(ratios)
    milliseconds = [1e3 * statistics.median(seconds[name]) for name in (ours, beside)]
    verdict = "" if at_most is None else f"{at_most:9.2f}  {'yes' if median <= at_most else 'NO'}"
    print(
        f"{model:5}{ours:17}{beside:17}{milliseconds[0]:9.2f}{milliseconds[1]:9.2f}   {median:.3f} "
        f"({min(ratios):.3f} to {max(ratios):.3f}) {verdict}"
    )
    return at_most is not None and median > at_most


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--check", action="store_true", help="exit 1 where a target is missed")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results = {make.__name__: measure(ways_of(make), options.rounds) for make in (mlp, cnn)}
    print(f"{'':5}{'':17}{'beside':17}{'ms':>9}{'ms':>9}   ratio (range)             at most  met")
    missed = 0
    for model, ours, beside, at_most in TARGETS:
        if beside in results[model]:
            missed += print_ratio(model, ours, beside, results[model], at_most)
    for model, seconds in results.items():
        for ours in ("ours", "ours, norms", "functorch"):
            print_ratio(model, ours, "gradient", seconds, None)
    sys.exit(1 if options.check and missed else 0)


if __name__ == "__main__":
    main()
