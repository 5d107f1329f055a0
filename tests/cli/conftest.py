"""A small run of the command line on made-up images, quick enough for dozens of processes."""

import gzip
import os
import struct
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
GRADWISE = Path(os.environ.get("GRADWISE_BUILD", ROOT / "build")) / "bin" / "gradwise"


def gradwise(*arguments, cwd=None, check=None):
    """Runs the program; `check` is the exit status it must have."""
    done = subprocess.run([GRADWISE, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, check=False)
    if check is not None:
        assert done.returncode == check, done.stdout + done.stderr
    return done


def train(config, run, *overrides, check=0):
    sets = [part for text in (f"run.dir={run}", *overrides) for part in ("--set", text)]
    return gradwise("train", config, *sets, check=check)


def start(config, run, *overrides):
    sets = [part for text in (f"run.dir={run}", *overrides) for part in ("--set", text)]
    command = [GRADWISE, "train", config, *sets]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def write_idx(path, array):
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """600 training and 100 test images of four classes: a bright quadrant in noise."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for name, count in (("train", 600), ("test", 100)):
        labels = random.integers(0, 4, count)
        pixels = random.integers(0, 120, (count, 8, 8))
        for i, label in enumerate(labels):
            pixels[i, 4 * (label // 2) : 4 * (label // 2) + 4, 4 * (label % 2) : 4 * (label % 2) + 4] += 100
        write_idx(folder / f"{name}-images.gz", pixels)
        write_idx(folder / f"{name}-labels.gz", labels)
    return folder


@pytest.fixture
def config(images, tmp_path):
    """A configuration that uses most of the loop: accumulation with a ragged end, dropout, averaging, a schedule."""
    text = f"""
[data]
train_images = "{images}/train-images.gz"
train_labels = "{images}/train-labels.gz"
test_images = "{images}/test-images.gz"
test_labels = "{images}/test-labels.gz"
[loader]
batch_size = 16
scale = 0.004
flip = false
crop_padding = 1
[model]
hidden = [16]
dropout = 0.2
[optimizer]
lr = 0.01
[train]
epochs = 3
accumulate = 3
metrics = ["accuracy"]
use_ema = true
[train.schedule]
name = "cosine"
warmup_steps = 5
[train.checkpoint]
every_steps = 3
"""
    path = tmp_path / "small.toml"
    path.write_text(text)
    return path
