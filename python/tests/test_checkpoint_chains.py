"""Chains in segments, planned chains and the reentrant form, against torch.utils.checkpoint and the plain chain."""

import pytest
import torch
from torch import nn
from torch.utils import checkpoint as peer

import gradwise
from gradwise import _core


def chain(blocks=8, width=64):
    torch.manual_seed(3)
    parts = [(nn.Linear(width, width), nn.Dropout(0.2), nn.Tanh()) for _ in range(blocks)]
    return nn.Sequential(*(part for block in parts for part in block))


def measured(model, forward, batch=1024, width=64):
    """Gradients of the input and the weights, and the peak of the step with those of the weights in place."""
    torch.manual_seed(5)
    x = torch.randn(batch, width).requires_grad_()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    with _core.PeakMemory() as memory:
        y = forward(x)
        y.backward(torch.ones_like(y))
    return [x.grad, *(p.grad for p in model.parameters())], memory.peak_bytes


def require_equal(found, expected):
    for left, right in zip(found, expected, strict=True):
        assert torch.equal(left, right)


@pytest.mark.parametrize("reentrant", [False, True])
def test_segments_are_those_of_torch(reentrant):
    model = chain()
    plain, plain_bytes = measured(model, model)
    theirs, their_bytes = measured(model, lambda x: peer.checkpoint_sequential(model, 4, x, use_reentrant=reentrant))
    ours, our_bytes = measured(model, lambda x: gradwise.checkpoint_sequential(model, 4, x, use_reentrant=reentrant))
    require_equal(ours, plain)
    require_equal(ours, theirs)
    assert our_bytes < 0.7 * plain_bytes and our_bytes <= 1.05 * their_bytes
    listed, _ = measured(model, lambda x: gradwise.checkpoint_sequential([lambda y: model(y), torch.sin], 2, x))
    require_equal(listed, measured(model, lambda x: model(x).sin())[0])


def test_a_plan_keeps_to_its_budget():
    model = chain()
    plain, plain_bytes = measured(model, model)
    x = torch.randn(1024, 64)
    whole = gradwise.plan_checkpoints(model, x, 1 << 30, repeats=1)
    assert whole.seconds == pytest.approx(whole.least_seconds) and all(not part.again for part in whole.schedule)
    assert [part.first for part in whole.schedule] == list(range(24)) and len(whole.stages) == 24
    budget = int(0.6 * plain_bytes)
    plan = gradwise.plan_checkpoints(model, x, budget, repeats=1)
    assert plan.peak_bytes <= budget and plan.seconds > plan.least_seconds
    assert any(part["again"] for part in plan.schedule)
    ends = [0, *(part.stop for part in plan.schedule)]
    assert ends[:-1] == [part.first for part in plan.schedule] and ends[-1] == 24
    for forward in (plan, plan.run):
        found, peak = measured(model, forward)
        require_equal(found, plain)
        assert peak <= 1.05 * budget + x.nbytes, "with the gradient of the input, which no plan knows of"


def test_a_plan_says_what_it_costs():
    model = chain()
    x = torch.randn(1024, 64)
    whole = gradwise.plan_checkpoints(model, x, 1 << 30, repeats=1)
    told = repr(whole)
    assert "0 of 24 stages recomputed" in told and "of 1024 MiB, 1 times the time of keeping everything" in told
    assert f"peak {whole.peak_bytes / 2**20:.4g} of" in told
    budget = int(0.6 * whole.peak_bytes)
    plan = gradwise.plan_checkpoints(model, x, budget, repeats=1)
    again = {i for part in plan.schedule if part.again for i in range(part.first, part.stop)}
    assert again and f"{len(again)} of 24 stages recomputed" in repr(plan)
    assert plan.memory_budget == budget and f"of {budget / 2**20:.4g} MiB" in repr(plan)
    assert f"{plan.seconds / plan.least_seconds:.3g} times" in repr(plan)


def test_a_plan_leaves_the_stages_as_they_were():
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Tanh())
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    gradwise.plan_checkpoints(model, torch.randn(16, 8), 1 << 30)
    with pytest.raises(ValueError, match="no schedule fits into 100 bytes, allowed: about "):
        gradwise.plan_checkpoints(model, torch.randn(16, 8), 100)
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, before[name])
    assert all(p.grad is None for p in model.parameters())


def test_the_reentrant_form_is_that_of_torch():
    layer = nn.Linear(5, 5)

    def function(given, *, scale):
        hidden = layer(given["x"]).tanh() * scale
        return {"out": hidden, "word": "kept", "two": hidden.exp()}

    def gradients(run):
        x = torch.linspace(-1, 1, 15).reshape(3, 5).requires_grad_()
        layer.zero_grad()
        result = run(x)
        assert result["word"] == "kept"
        (result["out"] * result["two"]).sum().backward()
        return [x.grad, layer.weight.grad.clone(), layer.bias.grad.clone()]

    def theirs(x):
        out, two = peer.checkpoint(lambda y: tuple(function({"x": y}, scale=2.0)[key] for key in ("out", "two")), x,
                                   use_reentrant=True)  # fmt: skip
        return {"out": out, "word": "kept", "two": two}

    def ours(x):
        return gradwise.checkpoint(function, {"x": x}, scale=2.0, use_reentrant=True)

    require_equal(gradients(ours), gradients(lambda x: function({"x": x}, scale=2.0)))
    for left, right in zip(gradients(ours), gradients(theirs), strict=True):  # torch's differ from the plain ones' bits
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5)
    x = torch.ones(5, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"does not work with autograd::grad\(\)"):
        torch.autograd.grad(gradwise.checkpoint(torch.exp, x, use_reentrant=True).sum(), x)


def test_what_cannot_be_is_refused():
    x = torch.ones(3, requires_grad=True)
    with pytest.raises(ValueError, match="segments is 3, allowed: between 1 and the number of stages, 2"):
        gradwise.checkpoint_sequential([torch.sin, torch.cos], 3, x)
    with pytest.raises(TypeError, match="stage 1 is 3, allowed: a callable of a tensor"):
        gradwise.checkpoint_sequential([torch.sin, 3], 1, x)
    with pytest.raises(TypeError, match="input is "):
        gradwise.checkpoint_sequential([torch.sin], 1, 3.0)
    with pytest.raises(ValueError, match="a stage gave 2 tensors, allowed: one"):
        gradwise.checkpoint_sequential([lambda y: (y, y)], 1, x)
    with pytest.raises(ZeroDivisionError):
        gradwise.plan_checkpoints([lambda y: 1 / 0], x, 1 << 20)
