"""Optimizers whose step evaluates the loss: LBFGS and what users write like it."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

import gradwise
from gradwise import AutogradOptimizer, AutogradTrainingLoop

DOUBLE = torch.float64


def problem(seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)).to(DOUBLE)
    return model, torch.randn(32, 4, dtype=DOUBLE) * (seed + 1), torch.randn(32, 2, dtype=DOUBLE) * (1 + seed % 4)


def torchs_steps(seed, make, steps=10):
    model, x, y = problem(seed)
    optimizer = make(model.parameters())

    def closure():
        optimizer.zero_grad()
        loss = functional.mse_loss(model(x), y)
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
    return list(model.parameters())


OPTIONS = [
    {"lr": 0.5},
    {"lr": 1.0, "line_search_fn": "strong_wolfe"},
    {"lr": 1e-3, "line_search_fn": "strong_wolfe"},
    {"lr": 0.5, "tolerance_grad": 0.1},
    {"lr": 0.5, "tolerance_change": 1e-2},
    {"lr": 0.5, "max_eval": 3},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("seed", [0, 11])  # in the latter LibTorch's line search goes another way
def test_lbfgs_takes_the_steps_of_torch(options, seed):
    model, x, y = problem(seed)
    optimizer = AutogradOptimizer(model, torch.optim.LBFGS, **options)
    for _ in range(10):
        optimizer.step(functional.mse_loss, x, y)
    expected = torchs_steps(seed, lambda parameters: torch.optim.LBFGS(parameters, **options))
    torch.testing.assert_close(list(model.parameters()), expected, rtol=1e-9, atol=1e-12)


class Twice(torch.optim.Optimizer):
    """Two half steps, each from a gradient of its own."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure):
        self.closure = closure
        for _ in range(2):
            with torch.enable_grad():
                closure()
            for group in self.param_groups:
                for p in group["params"]:
                    p.sub_(p.grad, alpha=group["lr"] / 2)


MAKERS = {
    "an instance": lambda parameters: torch.optim.LBFGS(parameters, line_search_fn="strong_wolfe"),
    "a subclass": lambda parameters: type("Mine", (torch.optim.LBFGS,), {})(parameters, lr=0.5),
    "a class of the user's": lambda parameters: Twice(parameters, lr=0.1),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_an_optimizer_that_asks_for_a_closure_gets_it(make):
    model, x, y = problem(3)
    loop = AutogradTrainingLoop(model, make(model.parameters()))
    told = loop.train_epoch([(x, y)] * 10, functional.mse_loss)
    assert len(told.losses) == 10 and told.losses[-1] < told.losses[0]
    torch.testing.assert_close(list(model.parameters()), torchs_steps(3, make), rtol=1e-9, atol=1e-12)


def test_a_step_that_is_not_finite_is_skipped_and_the_next_one_goes_on():
    model, x, y = problem(1)
    optimizer = AutogradOptimizer(model, torch.optim.LBFGS, line_search_fn="strong_wolfe")
    optimizer.step(functional.mse_loss, x, y)
    before = [p.detach().clone() for p in model.parameters()]
    calls = []

    def breaks(output, target):
        calls.append(output)
        return functional.mse_loss(output, target) * (float("nan") if len(calls) > 2 else 1.0)

    stats = optimizer.step(breaks, x, y)
    assert stats.skipped and stats.issues
    torch.testing.assert_close(list(model.parameters()), before, rtol=0, atol=0)
    first = optimizer.step(functional.mse_loss, x, y).loss
    assert optimizer.step(functional.mse_loss, x, y).loss < first


def test_an_error_of_the_loss_comes_out_as_it_is():
    model, x, y = problem(1)

    def fails(_output, _target):
        raise LookupError("mine")

    optimizer = AutogradOptimizer(model, torch.optim.LBFGS, line_search_fn="strong_wolfe")
    with pytest.raises(LookupError, match="mine"):
        optimizer.step(fails, x, y)


def test_a_closure_is_of_no_use_after_its_step():
    model, x, y = problem(1)
    kept = Twice(model.parameters(), 0.1)
    AutogradOptimizer(model, kept).step(functional.mse_loss, x, y)
    with pytest.raises(ValueError, match="the closure was called after its step"):
        kept.closure()


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_a_closure_that_is_called_again_counts_its_batch_once(network, data, micro_batches):
    model = network()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=5)
    watch = gradwise.watch(model, optimizer)
    calls = 0

    def closure():
        nonlocal calls
        calls += 1
        optimizer.zero_grad()
        losses = [
            functional.cross_entropy(model(x), y)
            for x, y in zip(data[0].chunk(micro_batches), data[1].chunk(micro_batches), strict=True)
        ]
        loss = torch.stack(losses).mean()
        loss.backward()
        return loss

    for _ in range(2):
        watch.step(optimizer.step(closure))
        assert watch.last_step.samples == 60 and watch.last_step.micro_batches == micro_batches
        parts = sum(watch.last_step.seconds[name] for name in ("data", "forward", "backward", "update"))
        assert parts <= watch.last_step.seconds.total
    assert calls == 10


def test_gradients_of_a_batch_once_more_are_none_of_the_next_steps(network, data):
    model = network()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4)
    watch = gradwise.watch(model, optimizer)
    first = []

    def closure():
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(data[0]), data[1])
        loss.backward()
        first.append(sum(float(p.grad.norm()) ** 2 for p in model.parameters() if p.grad is not None) ** 0.5)
        return loss

    for frozen in (False, True):
        model[0].requires_grad_(not frozen)
        first.clear()
        watch.step(optimizer.step(closure))
        assert len(first) > 1
        assert watch.last_step.grad_norm == pytest.approx(first[0], rel=1e-5)
        assert math.isnan(watch.readings()["0.weight"].grad_norm) == frozen


@pytest.mark.parametrize("line_search", [None, "strong_wolfe"])
def test_a_loop_counts_the_batches_of_a_closure_once(network, data, line_search):
    loop = gradwise.AutogradTrainingLoop(
        network(), torch.optim.LBFGS, lr=0.1, max_iter=5, line_search_fn=line_search, options={"accumulate": 2}
    )
    seen = []
    loop.on("step_end", lambda told: seen.append((told.step_stats.samples, told.step_stats.micro_batches)))
    loop.train_epoch([(data[0][i : i + 15], data[1][i : i + 15]) for i in range(0, 60, 15)], functional.cross_entropy)
    assert seen == [(30, 2), (30, 2)]
