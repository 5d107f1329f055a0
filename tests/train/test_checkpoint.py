"""A checkpoint's files as Python sees them: safetensors reads them, and what it writes resumes."""

import json
import os
import pathlib
import subprocess

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

BUILD = pathlib.Path(os.environ.get("GRADWISE_BUILD", pathlib.Path(__file__).parents[2] / "build"))
PROBE = BUILD / "tests" / "checkpoint_probe"


def probe(*words):
    return subprocess.run([PROBE, *map(str, words)], text=True, capture_output=True, timeout=120)


@pytest.fixture
def checkpoint(tmp_path):
    """One step of AdamW from weights i / 16, every gradient 1; the only checkpoint is that of step 1."""
    done = probe("write", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    return tmp_path / "run" / "checkpoint-1"


def start_weights():
    return {"layer.weight": torch.arange(6).reshape(2, 3) / 16, "layer.bias": torch.arange(5) / 16}


def trained_weights():
    """The same step in PyTorch."""
    weights = {name: tensor.requires_grad_() for name, tensor in start_weights().items()}
    optimizer = torch.optim.AdamW(weights.values(), lr=1e-3, weight_decay=1e-2)
    sum(tensor.sum() for tensor in weights.values()).backward()
    optimizer.step()
    return {name: tensor.detach() for name, tensor in weights.items()}


def test_files_of_a_checkpoint(checkpoint):
    assert sorted(path.name for path in checkpoint.iterdir()) == [
        "model.safetensors",
        "trainer_state.json",
        "training_state.safetensors",
    ]


def test_model_is_readable_and_right(checkpoint):
    saved = load_file(checkpoint / "model.safetensors")
    assert set(saved) == {"layer.weight", "layer.bias", "layer.count"}
    for name, tensor in trained_weights().items():
        torch.testing.assert_close(saved[name], tensor, rtol=1e-6, atol=1e-7)
    assert torch.equal(saved["layer.count"], torch.arange(4))
    with safe_open(checkpoint / "model.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}, "transformers wants to know who wrote it"


def test_training_state_is_readable_and_right(checkpoint):
    saved = load_file(checkpoint / "training_state.safetensors")
    after = trained_weights()
    for name, start in start_weights().items():
        moments = f"optimizer/optimizer/{name}"
        torch.testing.assert_close(saved[f"{moments}/exp_avg"], torch.full_like(start, 0.1))
        torch.testing.assert_close(saved[f"{moments}/exp_avg_sq"], torch.full_like(start, 0.001))
        decay = min(0.999, 2 / 11)
        torch.testing.assert_close(saved[f"ema/{name}"], decay * start + (1 - decay) * after[name])
    assert saved["random/cpu"].dtype == torch.uint8
    torch.Generator().set_state(saved["random/cpu"])  # torch's own format


def test_trainer_state_is_readable_and_right(checkpoint):
    saved = json.loads((checkpoint / "trainer_state.json").read_text())
    assert saved["format"] == 1
    assert saved["step"] == 1
    assert saved["loop"]["epoch"] == 1
    assert saved["optimizer"]["steps"] == 1
    assert saved["ema"]["num_updates"] == 1


def test_weights_written_by_python_resume(checkpoint, tmp_path):
    ours = load_file(checkpoint / "model.safetensors")
    changed = {name: tensor * 3 + 1 for name, tensor in ours.items()}
    save_file(changed, checkpoint / "model.safetensors")
    done = probe("read", checkpoint, tmp_path / "out.safetensors")
    assert done.returncode == 0, done.stderr
    found = load_file(tmp_path / "out.safetensors")
    assert set(found) == set(changed)
    for name, tensor in changed.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor), name


def test_weights_of_another_shape_are_refused_by_name(checkpoint, tmp_path):
    ours = load_file(checkpoint / "model.safetensors")
    ours["layer.bias"] = torch.zeros(7)
    del ours["layer.count"]
    save_file(ours, checkpoint / "model.safetensors")
    done = probe("read", checkpoint, tmp_path / "out.safetensors")
    assert done.returncode == 1
    assert "layer.bias: model [5] Float, checkpoint [7] Float" in done.stderr
    assert "layer.count: model [4], not in the checkpoint" in done.stderr
    assert not (tmp_path / "out.safetensors").exists()
