"""Average and loss scaler against torch_ema and PyTorch, driven through optim_probe with the same numbers."""

import json

import numpy as np
import pytest
import torch
from optim_probe import DTYPES, SHAPES, STEPS, assert_near, probe

SAVE_AT = [1, 2, 10, 100]


def series(dtype):
    """Values of parameters and buffers at the start and before each of 100 updates."""
    generator = torch.Generator().manual_seed(3)
    rows = {
        f"p/{name}": torch.randn(SAVE_AT[-1] + 1, *shape, generator=generator).to(dtype)
        for name, shape in SHAPES.items()
    }
    rows["b/mean"] = torch.randn(SAVE_AT[-1] + 1, 4, generator=generator).to(dtype)
    rows["b/count"] = torch.arange(SAVE_AT[-1] + 1) * 3
    return rows


def averages_by_formula(rows, decay, warmup):
    """torch_ema's update: shadow -= (1 - decay) * (shadow - value), decay = min(decay, (1 + n) / (10 + n))."""
    shadow = {name[2:]: tensor[0].clone() for name, tensor in rows.items()}
    expected = {}
    for n in range(1, SAVE_AT[-1] + 1):
        now = min(decay, (1 + n) / (10 + n)) if warmup else decay
        for name, tensor in rows.items():
            if tensor.is_floating_point():
                shadow[name[2:]] -= (1 - now) * (shadow[name[2:]] - tensor[n])
            else:
                shadow[name[2:]] = tensor[n]
        if n in SAVE_AT:
            expected |= {f"{n}/{name}": tensor.clone() for name, tensor in shadow.items()}
    return expected


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("warmup", [True, False])
@pytest.mark.parametrize("decay", [0.0, 0.5, 0.995, 1.0])
def test_ema_equals_its_formula(tmp_path, decay, warmup, dtype):
    rows = series(DTYPES[dtype])
    case = {"kind": "ema", "options": {"decay": decay, "warmup": warmup}, "save_at": SAVE_AT}
    actual, _ = probe(tmp_path, case, rows)
    assert_near(actual, averages_by_formula(rows, decay, warmup), 2e-6 if dtype == "float32" else 1e-14)


@pytest.mark.parametrize("warmup", [True, False])
def test_ema_equals_torch_ema(tmp_path, warmup):
    torch_ema = pytest.importorskip("torch_ema")
    rows = {name: tensor for name, tensor in series(torch.float64).items() if name[0] == "p"}
    case = {"kind": "ema", "options": {"decay": 0.99, "warmup": warmup}, "save_at": SAVE_AT}
    actual, _ = probe(tmp_path, case, rows)

    names = sorted(rows)
    parameters = [rows[name][0].clone().requires_grad_() for name in names]
    peer = torch_ema.ExponentialMovingAverage(parameters, decay=0.99, use_num_updates=warmup)
    expected = {}
    for n in range(1, SAVE_AT[-1] + 1):
        with torch.no_grad():
            for name, parameter in zip(names, parameters, strict=True):
                parameter.copy_(rows[name][n])
        peer.update()
        if n in SAVE_AT:
            with peer.average_parameters():
                expected |= {
                    f"{n}/{name[2:]}": parameter.detach().clone()
                    for name, parameter in zip(names, parameters, strict=True)
                }
    assert_near(actual, expected, 1e-14)


def scaler_gradients():
    """200 steps of gradients of all sizes; every eighth or so holds inf or NaN, and some overflow when scaled."""
    generator = torch.Generator().manual_seed(11)
    rows = torch.randn(STEPS, 6, generator=generator) * 10 ** (torch.rand(STEPS, 6, generator=generator) * 12 - 6)
    bad = torch.rand(STEPS, generator=generator) < 0.12
    for step in torch.nonzero(bad).flatten().tolist():
        rows[step, step % 6] = [float("inf"), float("-inf"), float("nan")][step % 3]
    rows[[40, 90, 91], 2] = 3e37
    return rows


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"init_scale": 1000.0, "growth_interval": 3},
        {"init_scale": 3.0, "growth_factor": 1.7, "backoff_factor": 0.3, "growth_interval": 5},
        {"init_scale": 65536.0, "growth_factor": 1e10, "backoff_factor": 0.5, "growth_interval": 1},
    ],
)
def test_scaler_equals_torchs(tmp_path, options):
    rows = scaler_gradients()
    actual, metadata = probe(tmp_path, {"kind": "scaler", "options": options}, {"g": rows})

    class Counting(torch.optim.SGD):
        taken = 0

        def step(self, closure=None):
            Counting.taken += 1

    parameter = torch.zeros(rows.shape[1], requires_grad=True)
    optimizer = Counting([parameter], lr=0.1)
    scaler = torch.amp.GradScaler("cpu", **options)
    for step, row in enumerate(rows):
        optimizer.zero_grad()
        scaler.scale((parameter * row).sum()).backward()
        scaler.unscale_(optimizer)
        np.testing.assert_array_equal(actual["g"][step].numpy(), parameter.grad.numpy(), err_msg=f"step {step}")
        before = Counting.taken
        scaler.step(optimizer)
        scaler.update()
        assert actual["finite"][step] == Counting.taken - before, step
        assert actual["scale"][step] == scaler.get_scale(), step
        assert actual["tracker"][step] == scaler.state_dict()["_growth_tracker"], step
    assert 0 < Counting.taken < STEPS, "the case must hold good steps and bad ones"
    assert json.loads(metadata["state"]) == scaler.state_dict()
