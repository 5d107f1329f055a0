"""A run that is killed again and again ends with the weights, bit for bit, of one that never was."""

import os
import random
import subprocess
import time

import pytest
from conftest import GRADWISE, gradwise

KILLS = int(os.environ.get("GRADWISE_KILLS", "30"))
COMMON = ["train.epochs=60", "train.checkpoint.every_steps=7"]
VARIANTS = {
    "adamw, cosine": [],
    "cnn, batch norm, flips, float16": [
        "model.name=cnn", "model.channels=[8]", "model.batch_norm=true", "loader.flip=true", "train.epochs=20",
        "train.step.precision=float16", "train.step.scaler.growth_interval=20",
    ],
    "sgd, plateau": [
        "optimizer.name=sgd", "optimizer.momentum=0.9", "train.schedule.name=plateau",
        "train.schedule.warmup_steps=0", "train.schedule.patience=1",
    ],
}


def overrides_of(variant):
    return [word for text in COMMON + VARIANTS[variant] for word in ("--set", text)]


def train_under_kills(config, run, variant, moments):
    """Starts or resumes the run until it is done, killing it at each of `moments` (seconds after a start, an
    iterator). Returns the number of kills."""
    command = [GRADWISE, "train", config, "--set", f"run.dir={run}", *overrides_of(variant)]
    for kills, moment in enumerate(moments):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            process.wait(moment)
            assert process.returncode == 0, process.stderr.read()
            return kills
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        if (run / "config.toml").exists():
            command = [GRADWISE, "train", "--resume", run]
    raise AssertionError("moments never ends")


def random_moments(choose, length):
    while True:
        yield choose.uniform(0.02, 0.7 * length)


@pytest.mark.parametrize("variant", VARIANTS)
def test_killed_at_random_moments(config, tmp_path, variant):
    whole = tmp_path / "whole"
    begin = time.monotonic()
    gradwise("train", config, "--set", f"run.dir={whole}", *overrides_of(variant), check=0)
    length = time.monotonic() - begin
    choose = random.Random(1)
    kills = rounds = 0
    while kills < KILLS / len(VARIANTS):
        run = tmp_path / f"killed-{rounds}"
        kills += train_under_kills(config, run, variant, random_moments(choose, length))
        assert (run / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
        rounds += 1
    print(f"{variant}: {kills} kills in {rounds} runs")
