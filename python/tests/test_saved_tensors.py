"""Saved tensors that wait elsewhere, against those that stay."""

import pytest
import torch
from torch import nn

import gradwise
from gradwise import _core


def model_of():
    torch.manual_seed(2)
    return nn.Sequential(*(part for _ in range(6) for part in (nn.Linear(64, 64), nn.ReLU())))


def gradients(model, context):
    torch.manual_seed(5)
    x = torch.randn(64, 64).requires_grad_()
    model.zero_grad()
    with context:
        loss = model(x).square().sum()
    loss.backward()
    return [x.grad, *(p.grad.clone() for p in model.parameters())]


class Nothing:
    def __enter__(self):
        pass

    def __exit__(self, *args):
        pass


@pytest.mark.parametrize("where", ["host", "disk", "lossless"])
def test_gradients_are_the_same_to_the_bit(where, tmp_path):
    model = model_of()
    expected = gradients(model, Nothing())
    context = gradwise.saved_tensors(where, folder=tmp_path if where == "disk" else None)
    for left, right in zip(gradients(model, context), expected, strict=True):
        assert torch.equal(left, right)
    assert not list(tmp_path.iterdir()), "the files go with the graph"


def test_bfloat16_takes_half_the_memory():
    model = model_of()
    x = torch.randn(64, 64, requires_grad=True)

    def held(context):
        with _core.PeakMemory() as memory, context:
            loss = model(x).sum()
        del loss
        return memory.peak_bytes

    layer = 64 * 64 * 4
    assert 6 * layer <= held(Nothing()) < 8 * layer
    assert held(gradwise.saved_tensors("bfloat16")) <= 5 * layer  # three, and what a layer works on
    expected, found = gradients(model, Nothing()), gradients(model, gradwise.saved_tensors("bfloat16"))
    for left, right in zip(found, expected, strict=True):
        assert (left - right).norm() < 0.05 * right.norm()
    assert not torch.equal(found[0], expected[0])


def test_the_context_ends_with_an_exception():
    x = torch.randn(64, 64, dtype=torch.float64).requires_grad_()
    with pytest.raises(RuntimeError, match="passing"), gradwise.saved_tensors("bfloat16"):
        raise RuntimeError("passing")
    h = x * 1.0
    h.sin().sum().backward()
    assert torch.equal(x.grad, x.detach().cos()), "nothing is rounded behind the context"


def test_what_cannot_be_is_refused(tmp_path):
    for arguments, message in (
        (("cellar",), 'where is "cellar", allowed: host, disk, bfloat16, lossless'),
        (("disk",), 'where is "disk", allowed without a folder: host, bfloat16, lossless'),
        (("host", tmp_path), 'where is "host", allowed with a folder: disk'),
    ):
        with pytest.raises(ValueError, match=message), gradwise.saved_tensors(*arguments):
            pass
    with pytest.raises(gradwise.GradwiseError, match="can't make a folder in "):
        with gradwise.saved_tensors("disk", folder="/proc/nothing"):
            pass
