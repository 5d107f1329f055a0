"""Every example runs, and shows what it says; those in C++ give the figures of those in Python."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
import torch

from gradwise import autograd_examples
from gradwise.autograd_examples import AutogradAdvancedExamples, AutogradTrainingExamples, CustomAutogradExample

ROOT = pathlib.Path(__file__).parents[2]
BUILD = pathlib.Path(os.environ.get("GRADWISE_BUILD", ROOT / "build"))
EXAMPLES = sorted((ROOT / "examples/python").glob("*.py"))


def test_custom_functions():
    assert CustomAutogradExample.custom_relu().checked
    assert CustomAutogradExample.custom_huber_loss().checked
    assert CustomAutogradExample.custom_linear(bias=True).checked and CustomAutogradExample.custom_linear(False).checked
    trained = CustomAutogradExample.custom_activation_in_a_model()
    assert trained.checked and trained.last_loss < 0.5 * trained.first_loss


def test_training():
    basic = AutogradTrainingExamples.basic_training()
    assert basic.losses[-1] < basic.losses[0] and basic.accuracy > 0.85
    assert AutogradTrainingExamples.gradient_accumulation().largest_difference < 1e-6


def test_advanced():
    second = AutogradAdvancedExamples.second_order()
    assert torch.equal(second.second, second.expected)
    memory = AutogradAdvancedExamples.gradient_checkpointing()
    assert memory.equal_gradients and memory.peak_bytes_checkpointed < 0.7 * memory.peak_bytes


@pytest.fixture(scope="module")
def figures():
    program = BUILD / "examples/autograd_examples"
    return json.loads(subprocess.run([program, "--json"], text=True, capture_output=True, check=True).stdout)


@pytest.mark.parametrize("example", autograd_examples.EXAMPLES, ids=lambda example: example.__name__)
def test_cpp_gives_the_same_figures(example, figures):
    expected, found = example(), figures[example.__name__]
    assert set(found) == set(expected)
    for key, value in expected.items():
        if key.startswith("peak_bytes"):
            assert found[key] == pytest.approx(value, rel=0.25)  # temporaries differ
        else:
            flat = value.flatten().tolist() if isinstance(value, torch.Tensor) else value
            assert found[key] == pytest.approx(flat, rel=1e-3, abs=1e-6), key


@pytest.mark.parametrize("example", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_scripts_run(example, tmp_path):
    done = subprocess.run(
        [sys.executable, example, "--quick"], cwd=tmp_path, text=True, capture_output=True, timeout=600,
        env=os.environ | {"PYTHONPATH": str(BUILD / "python")},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
