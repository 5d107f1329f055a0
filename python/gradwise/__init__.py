"""Gradwise: an autograd workbench for PyTorch. The core is C++; this package binds it.

    import gradwise

    watch = gradwise.watch(model, optimizer)     # then train as ever
    print(watch.diagnosis())
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

import torch as _torch  # loads the libraries that the core is linked with

from .errors import GradwiseError, GradwiseImportError, GradwiseUsageError
from ._built_for import check as _check

_check(_torch.__version__)

from . import autograd_utils, curvature, func, gradient_analysis  # noqa: E402
from ._checkpoint import CheckpointPlan, checkpoint, checkpoint_sequential, plan_checkpoints  # noqa: E402
from ._records import Finding, Issue, Record  # noqa: E402
from ._saved_tensors import saved_tensors  # noqa: E402
from .autograd_utils import (  # noqa: E402
    AutogradHooks,
    AutogradOptimizer,
    AutogradTrainingLoop,
    CustomAutogradFunction,
    CustomLossFunction,
    ExponentialMovingAverage,
    GradientComputationUtils,
    LossDefinition,
    find_nonfinite,
)
from .gradient_analysis import GradientAnalysisConfig, GradientAnalyzer, GradientMonitoring  # noqa: E402
from .optimizers import SGD, Adagrad, Adam, AdamW, Lion, RMSprop  # noqa: E402
from .per_sample import PerSampleGradients, per_sample_gradients, per_sample_norms  # noqa: E402
from .runs import Run, load_run  # noqa: E402
from .watching import Watch, unwatch, watch  # noqa: E402

if _TYPE_CHECKING:
    from . import autograd_examples
    from .autograd_examples import AutogradAdvancedExamples, AutogradTrainingExamples, CustomAutogradExample

__version__ = "0.1.0"

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "AutogradAdvancedExamples",
    "AutogradHooks",
    "AutogradOptimizer",
    "AutogradTrainingExamples",
    "AutogradTrainingLoop",
    "CheckpointPlan",
    "CustomAutogradExample",
    "CustomAutogradFunction",
    "CustomLossFunction",
    "ExponentialMovingAverage",
    "Finding",
    "GradientAnalysisConfig",
    "GradientAnalyzer",
    "GradientComputationUtils",
    "GradientMonitoring",
    "GradwiseError",
    "GradwiseImportError",
    "GradwiseUsageError",
    "Issue",
    "Lion",
    "LossDefinition",
    "PerSampleGradients",
    "RMSprop",
    "Record",
    "Run",
    "Watch",
    "autograd_examples",
    "autograd_utils",
    "checkpoint",
    "checkpoint_sequential",
    "curvature",
    "find_nonfinite",
    "gradient_analysis",
    "load_run",
    "per_sample_gradients",
    "per_sample_norms",
    "plan_checkpoints",
    "saved_tensors",
    "unwatch",
    "watch",
]


def __getattr__(name: str) -> _Any:
    """The examples, when they are first asked for: imported before, `python -m` would run them as another module."""
    classes = ("AutogradAdvancedExamples", "AutogradTrainingExamples", "CustomAutogradExample")
    if name not in ("autograd_examples", *classes):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    examples = importlib.import_module(".autograd_examples", __name__)
    return examples if name == "autograd_examples" else getattr(examples, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
