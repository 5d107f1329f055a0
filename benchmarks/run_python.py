#!/usr/bin/env python3
"""Gradwise in Python: what a watch costs, its training loop beside one in PyTorch, a call into the core, the import.

    cmake --build build --target gradwise_python bench_training
    .venv/bin/python benchmarks/run_python.py            # about two minutes on two cores
    .venv/bin/python benchmarks/run_python.py --quick    # rough figures

In one process the ways to look at gradients take turns, each on a model of its own; a ratio is of one round, beside the
same loop with nothing attached, and the table shows the median, the least and the largest over the rounds. Other work
on the machine spoils the figures.
"""

import argparse
import ctypes
import os
import pathlib
import statistics
import subprocess
import sys
import time

import torch
from torch.nn import functional

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("GRADWISE_BUILD", ROOT / "build"))
sys.path[:0] = [str(BUILD / "python"), str(ROOT / "benchmarks/training")]
import figures  # noqa: E402
import gradwise  # noqa: E402
from peer import Cnn, mlp, read_statistics  # noqa: E402


def keep_heap():
    """Has glibc keep the memory that a step frees. It gives the end of its heap back to the system otherwise and takes
    it again page by page, 0.7 ms a step, in whichever loop's gradients happen to lie there."""
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of malloc.h
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(trim_threshold, 2**30)
        mallopt(mmap_threshold, 2**25)  # the largest that it takes


class Loop:
    """AdamW on one batch of 64 again and again: the same work whatever looks at its gradients."""

    def __init__(self, model):
        torch.manual_seed(0)
        self.model = mlp() if model == "mlp" else Cnn(fast=True)
        self.optimizer = torch.optim.AdamW(self.model.parameters())
        self.x = torch.randn(64, 1, 28, 28)
        self.y = torch.randint(0, 10, (64,))
        self.steps = 0

    def after_backward(self):
        pass

    def after_step(self, loss):
        pass

    def run(self, steps):
        start = time.perf_counter()
        for _ in range(steps):
            self.steps += 1
            loss = functional.cross_entropy(self.model(self.x), self.y)
            self.optimizer.zero_grad()
            loss.backward()
            self.after_backward()
            self.optimizer.step()
            self.after_step(loss)
        return (time.perf_counter() - start) / steps


class Watched(Loop):
    def __init__(self, model, **options):
        super().__init__(model)
        self.watch = gradwise.watch(self.model, self.optimizer, **options)

    def after_step(self, loss):
        self.watch.step(loss)


class HistogramHooks(Loop):
    """As trackers do it: a hook on each parameter that takes its gradient's range and counts it into 64 bins."""

    def __init__(self, model, every):
        super().__init__(model)
        self.every = every
        self.counts = {}
        for name, parameter in self.model.named_parameters():
            parameter.register_hook(lambda gradient, name=name: self.count(name, gradient))

    def count(self, name, gradient):
        if self.steps % self.every == 0:
            flat = gradient.detach().reshape(-1)
            flat = flat[torch.isfinite(flat)]
            low, high = flat.min().item(), flat.max().item()
            self.counts[name] = torch.histc(flat, bins=64, min=low, max=high).tolist(), low, high


class FourStatistics(Loop):
    def after_backward(self):
        read_statistics(self.model)


WAYS = {
    "off": Loop,
    "watch": Watched,
    "watch, histograms every 10": lambda model: Watched(model, histograms_every=10),
    "torch.histc hooks": lambda model: HistogramHooks(model, 1),
    "torch.histc hooks every 10": lambda model: HistogramHooks(model, 10),
    "four statistics": FourStatistics,
}


def loops(model, steps, rounds):
    """Seconds a step of each way, one a round; who begins changes from round to round."""
    ways = {name: make(model) for name, make in WAYS.items()}
    seconds = {name: [] for name in ways}
    for loop in ways.values():
        loop.run(max(2, steps // 4))
    names = list(ways)
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(ways[name].run(steps))
    return seconds


def training_loops(model, batches, rounds):
    """Seconds a step of AutogradTrainingLoop and of the same by hand: clipping by norm, and the losses kept."""
    torch.manual_seed(0)
    data = [(torch.randn(64, 1, 28, 28), torch.randint(0, 10, (64,))) for _ in range(batches)]
    made = {name: mlp() if model == "mlp" else Cnn(fast=True) for name in ("torch", "gradwise")}
    optimizer = torch.optim.AdamW(made["torch"].parameters(), lr=1e-3)
    loop = gradwise.autograd_utils.AutogradTrainingLoop(made["gradwise"], torch.optim.AdamW, lr=1e-3)

    def by_hand():
        losses = []
        for x, y in data:
            optimizer.zero_grad()
            loss = functional.cross_entropy(made["torch"](x), y)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(made["torch"].parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())

    ways = {"torch": by_hand, "gradwise": lambda: loop.train_epoch(data, functional.cross_entropy)}
    seconds = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name in sorted(ways, reverse=turn % 2 == 0):
            start = time.perf_counter()
            ways[name]()
            if turn > 0:
                seconds[name].append((time.perf_counter() - start) / batches)
    return seconds


def call_overhead(rounds, calls=20_000):
    """Microseconds of a call into the core on one number, beside a function of PyTorch's that does the same, and the
    core's own share: the same call from C++."""
    x = torch.ones(1)
    functions = {"gradwise": gradwise.autograd_utils.CustomAutogradFunction.leaky_relu, "torch": functional.leaky_relu}
    found = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            for _ in range(calls):
                function(x)
            found[name].append((time.perf_counter() - start) / calls * 1e6)
    in_cpp = figures.run_json(BUILD / "benchmarks/bench_training", "call", "--rounds", rounds)
    found["core"] = [1e6 * seconds for seconds in in_cpp["seconds"]]
    return found


def import_seconds(rounds):
    """Of torch in a fresh interpreter, and then of gradwise."""
    code = (
        "import time; start = time.perf_counter(); import torch; middle = time.perf_counter(); import gradwise; "
        "print(middle - start, time.perf_counter() - middle)"
    )
    environment = os.environ | {"PYTHONPATH": str(BUILD / "python")}
    command = [sys.executable, "-c", code]
    rows = [subprocess.check_output(command, text=True, env=environment).split() for _ in range(rounds)]
    return {"torch": [float(first) for first, _ in rows], "gradwise": [float(second) for _, second in rows]}


def spread(values, digits):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def print_table(results):
    print(f"{'':6}{'':30}{'ms a step':>10}   added, in % of the loop (range)")
    for model, seconds in results["loops"].items():
        for way, found in seconds.items():
            added = [100 * (a / b - 1) for a, b in zip(found, seconds["off"], strict=True)]
            told = "" if way == "off" else spread(added, 1)
            print(f"{model:6}{way:30}{1e3 * statistics.median(found):10.3f}   {told}")
    for model, seconds in results["training"].items():
        ratios = [a / b for a, b in zip(seconds["gradwise"], seconds["torch"], strict=True)]
        print(f"{model:6}AutogradTrainingLoop, time over a loop by hand in PyTorch: {spread(ratios, 2)}")
    for name, microseconds in results["call"].items():
        print(f"a call of leaky_relu on one number, {name}: {spread(microseconds, 2)} µs")
    beyond = figures.overhead(results["call"]["gradwise"], results["call"]["core"])
    print(f"a call from Python, over the same from C++: {spread(beyond, 2)} µs")
    print(f"import beyond torch: {spread([1e3 * s for s in results['import']['gradwise']], 0)} ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="few and short rounds")
    parser.add_argument("--json", type=pathlib.Path, default=ROOT / "build/benchmarks/python.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_heap()
    rounds = 4 if options.quick else options.rounds
    results = {
        "loops": {"mlp": loops("mlp", 20 if options.quick else 200, rounds),
                  "cnn": loops("cnn", 3 if options.quick else 20, rounds)},
        "training": {"mlp": training_loops("mlp", 20 if options.quick else 200, rounds),
                     "cnn": training_loops("cnn", 3 if options.quick else 20, rounds)},
        "call": call_overhead(rounds),
        "import": import_seconds(3 if options.quick else 9),
    }  # fmt: skip
    figures.write(options.json, results)
    print_table(results)
    print("figures in", options.json)


if __name__ == "__main__":
    main()
