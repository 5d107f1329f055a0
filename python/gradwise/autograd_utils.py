"""Custom functions and losses, gradients of any order, averaged weights, hooks, the optimizer step and the loop."""

from ._average import ExponentialMovingAverage
from ._functions import CustomAutogradFunction, CustomLossFunction
from ._gradients import GradientComputationUtils
from ._hooks import AutogradHooks, find_nonfinite
from ._loss_definition import LossDefinition
from ._training import AutogradOptimizer, AutogradTrainingLoop

__all__ = [
    "AutogradHooks",
    "AutogradOptimizer",
    "AutogradTrainingLoop",
    "CustomAutogradFunction",
    "CustomLossFunction",
    "ExponentialMovingAverage",
    "GradientComputationUtils",
    "LossDefinition",
    "find_nonfinite",
]
