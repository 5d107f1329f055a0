"""Gradient checkpointing against torch.utils.checkpoint and against the plain function."""

from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils import checkpoint as peer

import gradwise
from gradwise import _core


def plain(function, *args):
    return function(*args)


def of_torch(function, *args):
    return peer.checkpoint(function, *args, use_reentrant=False)


class Block(nn.Module):
    """Two inputs and a flag in, two outputs; dropout inside."""

    def __init__(self, width=16):
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        self.runs = self.ends = 0

    def forward(self, x, scale, negate):
        self.runs += 1
        hidden = functional.dropout(torch.tanh(self.first(x)), 0.5)
        out = self.second(hidden).sin() * (-scale if negate else scale)
        second = hidden.exp() + 1
        self.ends += 1
        return out, second


@pytest.fixture
def block():
    torch.manual_seed(3)
    return Block()


def gradients(block, run, width=16):
    """Of inputs and weights, and a draw behind it all: the random state."""
    torch.manual_seed(5)
    x = torch.randn(6, width).requires_grad_()
    scale = torch.ones(width).requires_grad_()
    out, second = run(block, x, scale, True)
    found = torch.autograd.grad((out * second).sum(), [x, scale, *block.parameters()])
    return [*found, torch.rand(1)]


def test_gradients_are_those_of_torch_to_the_bit(block):
    expected = gradients(block, of_torch)
    for left, right in zip(gradients(block, plain), expected):
        assert torch.equal(left, right)
    block.runs = 0
    for left, right in zip(gradients(block, gradwise.checkpoint), expected):
        assert torch.equal(left, right)
    assert block.runs == 2


def test_nested_and_inside_and_around_torchs(block):
    expected = gradients(block, plain)
    ours = gradwise.checkpoint
    for outer, inner in ((ours, ours), (ours, of_torch), (of_torch, ours)):
        found = gradients(block, lambda f, *args: outer(lambda *given: inner(f, *given), *args))  # noqa: B023
        for left, right in zip(found, expected):
            assert torch.equal(left, right), (outer, inner)


def test_without_the_random_state_dropout_differs(block):
    run = lambda f, *args: gradwise.checkpoint(f, *args, preserve_rng_state=False)  # noqa: E731
    assert not torch.equal(gradients(block, run)[2], gradients(block, plain)[2])


def test_the_second_run_ends_where_no_tensor_is_needed(block):
    gradients(block, gradwise.checkpoint)
    assert (block.runs, block.ends) == (2, 1)
    block.runs = block.ends = 0
    gradients(block, lambda f, *args: gradwise.checkpoint(f, *args, early_stop=False))
    assert (block.runs, block.ends) == (2, 2)


def test_a_function_that_catches_exceptions_does_not_stop_the_stop(block):
    def careful(*args):
        try:
            return block(*args)
        except Exception as error:
            raise AssertionError("the end of the recomputation is no Exception") from error

    found = gradients(block, lambda _, *args: gradwise.checkpoint(careful, *args))
    for left, right in zip(found, gradients(block, plain)):
        assert torch.equal(left, right)


def test_one_tensor_a_list_and_no_tensor_that_goes_in(block):
    x = torch.randn(4, 16).requires_grad_()
    weight = torch.randn(16).requires_grad_()
    one = gradwise.checkpoint(lambda a: (a * weight).tanh(), x)
    assert isinstance(one, torch.Tensor)
    one.sum().backward()
    assert torch.equal(weight.grad, torch.autograd.grad((x * weight).tanh().sum(), weight)[0])
    both = gradwise.checkpoint(lambda: [weight.exp(), weight.sin()])
    assert isinstance(both, list) and torch.equal(both[1], weight.sin())
    both[0].sum().backward()
    with torch.no_grad():
        assert not gradwise.checkpoint(lambda a: a.exp(), x).requires_grad


def test_kept_graphs_second_order_and_hooks_of_torch_around_it(block):
    x = torch.randn(5, dtype=torch.float64).requires_grad_()
    cube = lambda a: (a**3).sin()  # noqa: E731
    out = gradwise.checkpoint(cube, x)
    (first,) = torch.autograd.grad(out.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    (plain_first,) = torch.autograd.grad(cube(x).sum(), x, create_graph=True)
    torch.testing.assert_close(second, torch.autograd.grad(plain_first.sum(), x)[0])
    out = gradwise.checkpoint(cube, x)
    for _ in range(2):
        assert torch.equal(torch.autograd.grad(out.sum(), x, retain_graph=True)[0], plain_first)
    packed = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: packed.append(t.shape) or t, lambda t: t):
        out = gradwise.checkpoint(cube, x.exp())
        times = len(packed)
        out.sum().backward()
    assert times == 2  # what exp keeps, and the input of the checkpoint
    torch.testing.assert_close(x.grad, torch.autograd.grad(cube(x.exp()).sum(), x)[0])


def test_memory_is_that_of_torchs():
    torch.manual_seed(0)
    stage = lambda: nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())  # noqa: E731
    model = nn.Sequential(*[stage() for _ in range(8)])
    x = torch.randn(512, 64)

    def peak(run):
        model.zero_grad(set_to_none=False)
        with _core.PeakMemory() as memory:
            y = x
            for stage in model:
                y = run(stage, y)
            y.sum().backward()
        return memory.peak_bytes

    peak(plain)  # gradients are there from here on
    kept, ours, torchs = peak(plain), peak(gradwise.checkpoint), peak(of_torch)
    assert ours < 0.7 * kept
    assert ours <= 1.02 * torchs


def test_a_function_that_does_something_else_is_found_out():
    widths = iter([3, 4, 3])
    x = torch.randn(4).requires_grad_()
    out = gradwise.checkpoint(lambda a: a.expand(next(widths), 4).exp(), x)
    with pytest.raises(gradwise.GradwiseError, match="saved tensor 0 was .* and is .*: the function must do the same"):
        out.sum().backward()


def test_errors():
    with pytest.raises(TypeError, match="allowed: a callable"):
        gradwise.checkpoint(3, torch.ones(2))
    with pytest.raises(ValueError, match="no input of a reentrant checkpoint asks for a gradient"):
        gradwise.checkpoint(torch.exp, torch.ones(2), use_reentrant=True)
    with pytest.raises(ValueError, match="determinism_check is 'some', allowed: 'default', 'none'"):
        gradwise.checkpoint(torch.exp, torch.ones(2), determinism_check="some")
    with pytest.raises(TypeError, match="unexpected keyword argument 'scale'"):
        gradwise.checkpoint(lambda x: x.exp(), torch.ones(2), scale=3)
    runs = iter([True, False])

    def once(x):
        if not next(runs):
            raise KeyError("the second time")
        return x.exp()

    out = gradwise.checkpoint(once, torch.ones(2).requires_grad_())
    with pytest.raises(KeyError, match="the second time"):
        out.sum().backward()


class Pair(NamedTuple):
    left: torch.Tensor
    right: torch.Tensor


class Nested(nn.Module):
    """Tensors inside of every kind of container, keywords, and what is no tensor; dropout inside."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(16, 16)

    def forward(self, batch, pairs, factor, *, mask=None, options):
        hidden = functional.dropout(torch.tanh(self.layer(batch["x"])), options["drop"])
        mixed = hidden * pairs[0].left * factor + pairs[0].right
        if mask is not None:
            mixed = mixed * mask
        return {"out": mixed, "rest": [Pair(mixed.exp(), hidden), "word", None, 3], "options": options}


def nested_gradients(run):
    torch.manual_seed(3)
    model = Nested()
    x, left, right, mask = (torch.randn(6, 16).requires_grad_() for _ in range(4))
    torch.manual_seed(5)
    options = {"drop": 0.5}
    found = run(model, {"x": x, "name": "a"}, [Pair(left, right)], 2.5, mask=mask, options=options)
    assert list(found) == ["out", "rest", "options"] and found["options"] is options
    assert isinstance(found["rest"][0], Pair) and found["rest"][1:] == ["word", None, 3]
    loss = (found["out"] * found["rest"][0].left * found["rest"][0].right).sum()
    return [*torch.autograd.grad(loss, [x, left, right, mask, *model.parameters()]), torch.rand(1)]


def test_containers_keywords_and_what_is_no_tensor_go_in_and_come_out():
    expected = nested_gradients(lambda f, *args, **kwargs: peer.checkpoint(f, *args, use_reentrant=False, **kwargs))
    for run in (lambda f, *args, **kwargs: f(*args, **kwargs), gradwise.checkpoint):
        for left, right in zip(nested_gradients(run), expected, strict=True):
            assert torch.equal(left, right)


def test_tensors_inside_of_containers_are_kept_as_inputs_are():
    x = torch.randn(5).requires_grad_()
    packed = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: packed.append(t.shape) or t, lambda t: t):
        out = gradwise.checkpoint(lambda given: given["list"][0].sin().cos(), {"list": [x.exp()]})
        assert len(packed) == 2, "what exp keeps, and the tensor in the list"
        out.sum().backward()
    assert torch.equal(x.grad, torch.autograd.grad(x.exp().sin().cos().sum(), x)[0])


def test_a_function_may_change_the_list_that_it_is_given():
    """The caller sees what the first run did, and the second run begins from what the first one began from."""

    def emptied(tensors):
        total = tensors.pop().sin()
        while tensors:
            total = total * tensors.pop().exp()
        return total

    x, y = (torch.randn(4).requires_grad_() for _ in range(2))
    given = [x, y]
    out = gradwise.checkpoint(emptied, given)
    assert given == []
    out.sum().backward()
    expected = torch.autograd.grad((y.sin() * x.exp()).sum(), [x, y])
    assert torch.equal(x.grad, expected[0]) and torch.equal(y.grad, expected[1])


def test_results_do_not_outlive_their_graph():
    layer = nn.Linear(1000, 1000)
    x = torch.randn(100, 1000)
    with _core.PeakMemory() as memory:
        for _ in range(10):
            gradwise.checkpoint(lambda given: {"out": layer(given[0]).exp()}, [x])
    assert memory.peak_bytes < 5 * x.nbytes


@pytest.mark.parametrize("check", ["none", False])
def test_without_the_check_shapes_may_differ(check):
    widths = iter([3, 1])
    x = torch.randn(4).requires_grad_()
    out = gradwise.checkpoint(lambda a: a.expand(next(widths), 4).exp(), x, determinism_check=check)
    out.sum().backward()
    assert x.grad.shape == x.shape
