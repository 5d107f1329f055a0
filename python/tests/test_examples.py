"""Every example runs, and shows what it says."""

import os
import pathlib
import subprocess
import sys

import pytest
import torch

from gradwise.autograd_examples import AutogradAdvancedExamples, AutogradTrainingExamples, CustomAutogradExample

ROOT = pathlib.Path(__file__).parents[2]
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


@pytest.mark.parametrize("example", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_scripts_run(example, tmp_path):
    build = pathlib.Path(os.environ.get("GRADWISE_BUILD", ROOT / "build"))
    done = subprocess.run(
        [sys.executable, example, "--quick"], cwd=tmp_path, text=True, capture_output=True, timeout=600,
        env=os.environ | {"PYTHONPATH": str(build / "python")},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
