"""What Python says of a class or a function begins with what the C++ header says."""

import pathlib
import re
import sys

import pytest

import gradwise
from gradwise import _core, curvature, func

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tools"))

from make_docstrings import comments  # noqa: E402

COMMENTS = comments()
WRAPPERS = {
    "AutogradHooks": gradwise.AutogradHooks,
    "AutogradOptimizer": gradwise.AutogradOptimizer,
    "AutogradTrainingLoop": gradwise.AutogradTrainingLoop,
    "CustomAutogradFunction": gradwise.CustomAutogradFunction,
    "CustomLossFunction": gradwise.CustomLossFunction,
    "EmpiricalFisher": curvature.EmpiricalFisher,
    "ExponentialMovingAverage": gradwise.ExponentialMovingAverage,
    "Fisher": curvature.Fisher,
    "GaussNewton": curvature.GaussNewton,
    "GradientAnalyzer": gradwise.GradientAnalyzer,
    "GradientCovariance": curvature.GradientCovariance,
    "GradientMonitoring": gradwise.GradientMonitoring,
    "Hessian": curvature.Hessian,
    "KroneckerFactors": curvature.KFAC,
    "LinearOperator": curvature.LinearOperator,
    "PerSampleGradients": gradwise.PerSampleGradients,
    "RunReader": gradwise.Run,
    "TrainingMonitor": gradwise.Watch,
    "checkpoint": gradwise.checkpoint,
    "checkpoint_sequential": gradwise.checkpoint_sequential,
    "find_nonfinite": gradwise.find_nonfinite,
    "grad": func.grad,
    "hessian": func.hessian,
    "jacobian": func.jacrev,
    "jvp": func.jvp,
    "linearize": func.linearize,
    "plan_checkpoints": gradwise.plan_checkpoints,
    "value_and_grad": func.grad_and_value,
    "vjp": func.vjp,
    "vmap": func.vmap,
}


def one_line(text):
    return " ".join(text.split())


def first_sentence(text):
    return re.split(r"(?<=\.)\s", text.partition("\n\n")[0])[0]


@pytest.mark.parametrize("name", WRAPPERS)
def test_docstrings_begin_with_the_comment(name):
    sentence = one_line(first_sentence(COMMENTS[name]))
    assert len(sentence) > 20
    assert one_line(WRAPPERS[name].__doc__).startswith(sentence)


def test_a_later_paragraph_where_that_is_the_one():
    said = COMMENTS["KroneckerFactors"].partition("\n\nEKFAC")[2].partition("\n\n")[0]
    assert "eigenvectors" in said
    assert one_line(curvature.EKFAC.__doc__).startswith(one_line("EKFAC" + said))


@pytest.mark.parametrize("name", func.__all__)
def test_transforms_have_the_comment_of_the_peer_they_are_named_after(name):
    """The comments of their namesakes over closures have no peer there."""
    assert f"`torch.func.{name}`" in getattr(func, name).__doc__


@pytest.mark.parametrize("name", ["DataOperator", "Damped", "FusedOptimizer", "Hessian", "PeakMemory"])
def test_the_extension_has_the_whole_comment(name):
    assert one_line(getattr(_core, name).__doc__) == one_line(COMMENTS[name])


def test_methods_and_functions_of_the_extension():
    assert COMMENTS["Hessian_gradient"] in _core.Hessian.gradient.__doc__
    assert COMMENTS["custom_relu"].splitlines()[0] in _core.custom_relu.__doc__
