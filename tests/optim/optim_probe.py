"""What the tests of optim_probe share: the program, numbers that it is given, and how its results are compared."""

import json
import os
import pathlib
import subprocess

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

BUILD = pathlib.Path(os.environ.get("GRADWISE_BUILD", pathlib.Path(__file__).parents[2] / "build"))
PROBE = BUILD / "tests" / "optim_probe"

STEPS = 200
SHAPES = {"a": (3, 5), "b": (7,), "c": (), "d": (0, 4), "e": (2, 3, 1, 2)}
DTYPES = {"float32": torch.float32, "float64": torch.float64}


def probe(folder, case, tensors):
    """Runs one case; gives its output tensors and the metadata."""
    source, result = folder / "in.safetensors", folder / "out.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, source)
    line = json.dumps(case | {"input": str(source), "output": str(result)})
    done = subprocess.run([PROBE], input=line + "\n", text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    with safe_open(result, framework="pt") as file:
        metadata = file.metadata()
    return load_file(result), metadata


def assert_near(actual, expected, tolerance):
    assert sorted(actual) == sorted(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(
            actual[name], tensor, rtol=tolerance, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}"
        )
