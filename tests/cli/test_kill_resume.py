"""A run that is killed again and again ends with the weights, bit for bit, of one that never was."""

import os
import random
import subprocess
import time

from conftest import GRADWISE, gradwise

KILLS = int(os.environ.get("GRADWISE_KILLS", "30"))
OVERRIDES = ["--set", "train.epochs=60", "--set", "train.checkpoint.every_steps=7"]


def test_killed_at_random_moments(config, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    begin = time.monotonic()
    gradwise("train", config, "--set", f"run.dir={whole}", *OVERRIDES, check=0)
    length = time.monotonic() - begin
    choose = random.Random(1)
    command = [GRADWISE, "train", config, "--set", f"run.dir={killed}", *OVERRIDES]
    kills = 0
    while kills < KILLS:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            process.wait(choose.uniform(0.02, 0.5 * length))
            assert process.returncode == 0, process.stderr.read()
            break  # done before the kill
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
        if (killed / "config.toml").exists():
            command = [GRADWISE, "train", "--resume", killed]
    gradwise("train", "--resume", killed, check=0)
    assert kills >= min(KILLS, 3)
    assert (killed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
