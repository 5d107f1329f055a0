"""Targets that are standardized, and figures in the units of the data."""

import json

import numpy as np
import pytest
from conftest import gradwise, train
from safetensors import safe_open


@pytest.fixture
def table(tmp_path):
    """y = 1000 + 300 x, in a file; a model of one layer learns it."""
    x = np.random.default_rng(0).standard_normal(200)
    rows = "".join(f"{a:.6f},{1000 + 300 * a:.4f}\n" for a in x)
    (tmp_path / "line.csv").write_text("x,y\n" + rows)
    path = tmp_path / "line.toml"
    path.write_text("""
[data]
kind = "csv"
file = "line.csv"
validation_split = 0.2
standardize_targets = true
csv.label = "y"
[loader]
batch_size = 16
[model]
hidden = []
[loss]
name = "mse"
[optimizer]
lr = 0.03
[train]
epochs = 30
metrics = ["mae", "r2"]
""")
    return path


def test_metrics_are_in_the_units_of_the_data(table, tmp_path):
    """A model that predicts the mean would be wrong by 240; the scaling of outputs is found in the weights' file."""
    done = train(table, tmp_path / "run", "train.max_steps=1", "optimizer.lr=0")
    fresh = float(done.stdout.split("validation mae: ")[1].split()[0])
    assert 50 < fresh < 1000
    run = tmp_path / "trained"
    done = train(table, run)
    assert "(of standardized targets)" in done.stdout and "test loss" not in done.stdout
    assert float(done.stdout.split("validation mae: ")[1].split()[0]) < 15
    assert float(done.stdout.split("validation r2: ")[1].split()[0]) > 0.99
    with safe_open(run / "model.safetensors", "pt") as file:
        mean, deviation = (json.loads(file.metadata()[key]) for key in ("target_mean", "target_std"))
        slope, offset = (file.get_tensor(name).double() for name in sorted(file.keys(), key=lambda k: "bias" in k))
    assert float(slope) * deviation[0] == pytest.approx(300, rel=0.03)
    assert float(offset) * deviation[0] + mean[0] == pytest.approx(1000, rel=0.03)


def test_the_best_is_told_by_what_is_monitored(table, tmp_path):
    train(table, tmp_path / "runs" / "run", "train.monitor=r2")
    report = (tmp_path / "runs" / "run" / "report.txt").read_text()
    assert "best validation" in report and "r2 1.00" in report.split("best validation")[1].splitlines()[0]
    assert "r2 1.00" in gradwise("runs", tmp_path / "runs", check=0).stdout


def test_a_resumed_run_keeps_the_scaling(table, tmp_path):
    straight, halves = tmp_path / "straight", tmp_path / "halves"
    train(table, straight, "train.epochs=4")
    train(table, halves, "train.epochs=2")
    done = gradwise("train", "--resume", halves, "--set", "train.epochs=4", check=0)
    assert "(of standardized targets)" in done.stdout
    assert (halves / "model.safetensors").read_bytes() == (straight / "model.safetensors").read_bytes()


def test_targets_that_cannot_be_scaled(config, tmp_path):
    done = train(config, tmp_path / "run", "data.standardize_targets=true", check=2)
    assert 'loss.name is "cross_entropy"' in done.stderr and "allowed with it: the losses mse, mae," in done.stderr
    text = ("data.kind=text", f"data.file={config}", "loss.name=mse")
    done = train(config, tmp_path / "run", "data.standardize_targets=true", *text, check=2)
    assert 'data.kind is "text"' in done.stderr and ", and no text" in done.stderr


def test_doctor_standardizes_targets(table, tmp_path):
    """Trials are compared in the data's own units: the loss of standardized targets is small whatever they learn."""
    sick = ("--set", "data.standardize_targets=false", "--steps", 100)
    mended = tmp_path / "mended.toml"
    text = gradwise("doctor", table, *sick, "--fix", "-o", mended, check=0).stdout
    assert "the targets are far from deviation 1" in text
    assert "by      data.standardize_targets false -> true" in text
    assert "standardize_targets = true" in mended.read_text()
    text = gradwise("doctor", table, *sick, "--set", "data.validation_split=0", "--fix", "-o", mended, check=0).stdout
    assert "standardize_targets false -> true" not in text, "no data to compare on"
