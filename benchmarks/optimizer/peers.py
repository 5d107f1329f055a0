"""Optimizer steps in Python, in turn in one process: gradwise.AdamW beside PyTorch's ways. Prints one JSON object."""

import argparse
import importlib.metadata
import json
import pathlib
import sys
import time

import torch

try:
    import torch_ema
except ImportError:  # its row is left out
    torch_ema = None

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "build/python"))
import gradwise  # noqa: E402


def shapes_of(name):
    if name == "cnn":
        return [(64, 62, 3, 3), (64,), (64,)] * 50
    if name == "small":
        return [(1000,)] * 1000
    width = 768
    block = [
        (width,), (width,), (width, 3 * width), (3 * width,), (width, width), (width,), (width,), (width,),
        (width, 4 * width), (4 * width,), (4 * width, width), (width,),
    ]  # fmt: skip
    return [(50257, width), (1024, width), *block * 12, (width,), (width,)]


def tensors(shapes):
    weights = [torch.randn(s).mul_(0.02).requires_grad_() for s in shapes]
    for weight in weights:
        weight.grad = torch.randn(weight.shape).mul_(1e-3)
    return weights


def ours(shapes):
    weights = tensors(shapes)
    optimizer = gradwise.AdamW(weights, max_grad_norm=1.0, ema_decay=0.999)
    return optimizer.step


def torch_fused(shapes, statistics=False):
    """torch's best: the fused AdamW, foreach clipping and a foreach average."""
    weights = tensors(shapes)
    averages = [w.detach().clone() for w in weights]
    optimizer = torch.optim.AdamW(weights, fused=True)

    def step():
        if statistics:
            for w in weights:
                g = w.grad
                _ = [float(s) for s in (g.norm(), g.abs().mean(), g.abs().max(), g.var(), (g == 0).float().mean())]
        torch.nn.utils.clip_grad_norm_(weights, 1.0, foreach=True)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(averages, weights, 1e-3)

    return step


def torch_default(shapes):
    weights = tensors(shapes)
    average = torch_ema.ExponentialMovingAverage(weights, decay=0.999)
    optimizer = torch.optim.AdamW(weights)

    def step():
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        average.update()

    return step


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--shapes", choices=["gpt2", "cnn", "small"], default="gpt2")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    shapes = shapes_of(options.shapes)
    steps = {
        "gradwise.AdamW": ours(shapes),
        "torch fused": torch_fused(shapes),
        "torch fused, statistics": torch_fused(shapes, statistics=True),
    }
    versions = {"torch": torch.__version__}
    if torch_ema is not None:
        steps["torch default, torch_ema"] = torch_default(shapes)
        versions["torch_ema"] = importlib.metadata.version("torch-ema")
    calls = 1 if options.shapes == "gpt2" else 5
    seconds = {name: [] for name in steps}
    for round_number in range(options.repeats + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            for _ in range(calls):
                step()
            if round_number > 0:
                seconds[name].append((time.perf_counter() - start) / calls)
    print(json.dumps({"seconds": seconds} | versions))


if __name__ == "__main__":
    main()
