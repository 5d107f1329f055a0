"""A program may end while a daemon thread is in the core."""

import os
import pathlib
import subprocess
import sys

import pytest

BUILD = pathlib.Path(os.environ.get("GRADWISE_BUILD", pathlib.Path(__file__).parents[2] / "build"))

BEGIN = """
import atexit, threading
import torch

def at_the_end():
    optimizer = gradwise.AutogradOptimizer(model, torch.optim.SGD)
    optimizer.step(loss, x, y)
    print("steps at the end:", optimizer.steps)

atexit.register(at_the_end)  # runs after what the import registers
import gradwise

model, x, y = torch.nn.Linear(4, 3), torch.randn(8, 4), torch.randn(8, 3)
under_way = threading.Event()

def loss(output, target):
    if threading.current_thread() is not threading.main_thread():
        under_way.set()
        for _ in range(20_000):  # Python may hand the lock to another thread in here
            pass
    return (output - target).square().mean()

def for_ever(work):
    while True:
        work()
"""

END = """
threading.Thread(target=for_ever, args=(work,), daemon=True).start()
under_way.wait()
"""

WORK = {
    "training": "loop = gradwise.AutogradTrainingLoop(model)\n"
    "def work(): loop.train_epoch([(x, y)] * 100, loss)",
    "step": "optimizer = gradwise.AutogradOptimizer(model)\ndef work(): optimizer.step(loss, x, y)",
    "python optimizer": "optimizer = gradwise.AutogradOptimizer(model, torch.optim.Adadelta)\n"
    "def work(): optimizer.step(loss, x, y)",
    "analysis": "analyzer = gradwise.GradientAnalyzer()\ndef work(): analyzer.analyze_gradients(model, loss, x, y)",
    "curvature": "def work(): gradwise.curvature.Hessian(model, loss, (x, y)).trace(products=5)",
    "gradients": "def work(): gradwise.GradientComputationUtils.hessian(lambda w: loss(x @ w, y), torch.randn(4, 3))",
}


@pytest.mark.parametrize("work", WORK)
def test_a_daemon_thread_in_the_core_does_not_hinder_the_exit(work):
    ended = subprocess.run(
        [sys.executable, "-c", BEGIN + WORK[work] + END], capture_output=True, text=True, timeout=120,
        env=os.environ | {"PYTHONPATH": str(BUILD / "python")},
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (0, "steps at the end: 1\n"), ended.stderr[-2000:]
