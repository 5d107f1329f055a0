"""A run that is killed again and again ends with the weights, bit for bit, of one that never was."""

import os
import random
import subprocess
import time

from conftest import GRADWISE, gradwise

KILLS = int(os.environ.get("GRADWISE_KILLS", "30"))
OVERRIDES = ["--set", "train.epochs=60", "--set", "train.checkpoint.every_steps=7"]


def train_under_kills(config, run, moments):
    """Starts or resumes the run until it is done, killing it at each of `moments` (seconds after a start, an
    iterator). Returns the number of kills."""
    command = [GRADWISE, "train", config, "--set", f"run.dir={run}", *OVERRIDES]
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


def test_killed_at_random_moments(config, tmp_path):
    whole = tmp_path / "whole"
    begin = time.monotonic()
    gradwise("train", config, "--set", f"run.dir={whole}", *OVERRIDES, check=0)
    length = time.monotonic() - begin
    choose = random.Random(1)
    kills = rounds = 0
    while kills < KILLS:
        run = tmp_path / f"killed-{rounds}"
        kills += train_under_kills(config, run, random_moments(choose, length))
        assert (run / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
        rounds += 1
    print(f"{kills} kills in {rounds} runs")
