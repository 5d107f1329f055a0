"""Long calls into the core let other threads run: one counts while the call is under way."""

import functools
import operator
import shutil
import sys
import threading
import time

import pytest
import torch
from torch import nn
from torch.nn import functional

import gradwise
from gradwise import _core


@pytest.fixture
def counts_during():
    """Counts of another thread within a call. From the first reading to the second there is no step of the
    interpreter, which could give the lock away itself: all is called from `map`."""
    ticks, stop = [], threading.Event()

    def tick():
        while not stop.is_set():
            ticks.append(None)
            time.sleep(0)  # gives the lock back

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread = threading.Thread(target=tick)
    thread.start()

    def count(function, *arguments):
        calls = (ticks.__len__, functools.partial(function, *arguments), ticks.__len__)
        first, _, last = map(operator.methodcaller("__call__"), calls)
        return last - first

    yield count
    stop.set()
    thread.join()
    sys.setswitchinterval(before)


@pytest.fixture(scope="module")
def large():
    """A model of three million parameters and what there is of it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(100, 3000), nn.ReLU(), nn.Linear(3000, 900), nn.ReLU(), nn.Linear(900, 3))
    return model, (torch.randn(16, 100), torch.zeros(16).long())


def a_state_is_saved(model, data, folder):
    optimizer = gradwise.AutogradOptimizer(model)
    optimizer.step(functional.cross_entropy, *data)
    return optimizer._native.state, ()


def a_state_is_loaded(model, data, folder):
    optimizer = gradwise.AutogradOptimizer(model)
    optimizer.step(functional.cross_entropy, *data)
    return optimizer._native.load_state, optimizer._native.state()


def averages_move(model, data, folder):
    weights = [p.detach() for p in model.parameters()]
    return _core.move_averages, ([w.clone() for w in weights], weights, 0.1)


def one_pass(model, data, folder):
    optimizer = gradwise.AdamW(model.parameters())
    functional.cross_entropy(model(data[0]), data[1]).backward()
    return optimizer._native().update, (1.0, [], [], 0.0)


def weights_that_stand_are_measured(model, data, folder):
    return gradwise.AdamW(model.parameters())._native().measure_standing, ()


def hooks_measure(model, data, folder):
    return gradwise.AutogradHooks(nn.Linear(1, 1))._native.observe, ("0", torch.randn(3_000_000))


def a_figure_is_drawn(model, data, folder):
    if shutil.which("gnuplot") is None:
        pytest.skip("gnuplot is not installed")
    analyzer = gradwise.GradientAnalyzer()
    analyzer.analyze_gradients(nn.Linear(4, 2), functional.cross_entropy, torch.randn(8, 4), torch.zeros(8).long())
    return analyzer._native.plot_gradient_analysis, (str(folder / "a.png"),)


def a_run_is_read(model, data, folder):
    deep = nn.Sequential(*(nn.Linear(2, 2) for _ in range(40)))
    optimizer = torch.optim.SGD(deep.parameters(), lr=0.1)
    with gradwise.watch(deep, optimizer, run=folder / "run", record_every=1) as watch:
        for _ in range(30):
            loss = deep(torch.ones(4, 2)).square().mean()
            loss.backward()
            optimizer.step()
            watch.step(loss)
    return gradwise.load_run(folder / "run")._native.readings, ()


def a_trace(model, data, folder):
    return gradwise.curvature.from_matrix(torch.eye(600))._native.trace, ("hutchinson", {"products": 200})


CASES = [
    a_state_is_saved, a_state_is_loaded, averages_move, one_pass, weights_that_stand_are_measured, hooks_measure,
    a_figure_is_drawn, a_run_is_read, a_trace,
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_others_run_while(case, large, tmp_path, counts_during):
    function, arguments = case(*large, tmp_path)
    assert counts_during(function, *arguments) > 0


def test_the_count_sees_a_lock_that_is_held(counts_during):
    assert counts_during(sorted, range(3_000_000)) == 0
