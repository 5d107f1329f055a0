"""The step in Python: updates in the backward pass, rates that are tensors, parameters that are unfrozen."""

import pytest
import torch
from torch.nn import functional

from gradwise.autograd_utils import AutogradOptimizer, AutogradTrainingLoop


def batches(x, y, size=20):
    return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]


@pytest.mark.parametrize("given", [{"in_backward": True}, {"step_options": {"in_backward": True}}])
def test_an_update_in_the_backward_pass_clips_by_the_options(network, data, given):
    during, after = network(), network()
    one = AutogradOptimizer(during, lr=1e-2, **given)
    other = AutogradOptimizer(after, lr=1e-2)
    for _ in range(3):  # gradients below the norm of 1 that both clip to
        done = one.step(functional.cross_entropy, *data)
        expected = other.step(functional.cross_entropy, *data)
        assert not expected.clipped and done.grad_norm == pytest.approx(expected.grad_norm, rel=1e-5)
    for a, b in zip(during.parameters(), after.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    with pytest.raises(ValueError, match="can't be clipped in its own way with in_backward"):
        one.step(functional.cross_entropy, *data, max_grad_norm=0.1)


def test_the_loop_updates_in_the_backward_pass(network, data):
    during, after = network(), network()
    one = AutogradTrainingLoop(during, lr=1e-2, options={"step": {"in_backward": True}})
    other = AutogradTrainingLoop(after, lr=1e-2)
    assert one.train_epoch(batches(*data), functional.cross_entropy)["losses"] == pytest.approx(
        other.train_epoch(batches(*data), functional.cross_entropy)["losses"], rel=1e-5
    )
    for a, b in zip(during.parameters(), after.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_a_rate_that_is_a_tensor_is_read_at_each_step(network, data):
    ours, theirs = network(), network()
    rate = torch.tensor(0.1)
    mine = AutogradOptimizer(ours, torch.optim.SGD, lr=rate, weight_decay=0.0)
    torchs = torch.optim.SGD(theirs.parameters(), lr=0.1)
    for step in range(4):
        if step == 2:
            rate.fill_(0.5)
            torchs.param_groups[0]["lr"] = 0.5
            assert mine.lr == [0.5]
        stats = mine.step(functional.cross_entropy, *data, clip_gradients=False)
        torchs.zero_grad()
        functional.cross_entropy(theirs(data[0]), data[1]).backward()
        torchs.step()
        assert stats.lr == pytest.approx(torchs.param_groups[0]["lr"])
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    mine.lr = 0.25
    assert float(rate) == 0.25 and mine.lr == [0.25]


@pytest.mark.parametrize("optimizer_class", [torch.optim.AdamW, torch.optim.NAdam])
def test_a_parameter_that_is_unfrozen_trains_from_then_on(network, data, optimizer_class):
    ours, theirs = network(), network()
    for model in (ours, theirs):
        model[0].requires_grad_(False)
    mine = AutogradOptimizer(ours, optimizer_class, lr=1e-2)
    torchs = optimizer_class(theirs.parameters(), lr=1e-2, weight_decay=1e-2)
    for step in range(6):
        if step == 3:
            ours[0].requires_grad_()
            theirs[0].requires_grad_()
        mine.step(functional.cross_entropy, *data, clip_gradients=False)
        torchs.zero_grad()
        functional.cross_entropy(theirs(data[0]), data[1]).backward()
        torchs.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
