"""What is refused says which argument it is, what was given and what is allowed."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import gradwise
from gradwise import curvature


class Complex(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 2, dtype=torch.complex64))

    def forward(self, x):
        return (x.to(self.weight.dtype) @ self.weight).abs()


X, Y = torch.randn(8, 4), torch.randn(8, 2)

USES = {
    "optimizer": lambda m: gradwise.AutogradOptimizer(m),
    "torch's optimizer": lambda m: gradwise.AutogradOptimizer(m, torch.optim.Adadelta),
    "loop": lambda m: gradwise.AutogradTrainingLoop(m),
    "watch": lambda m: gradwise.watch(m),
    "analysis": lambda m: gradwise.GradientAnalyzer().analyze_gradients(m, functional.mse_loss, X, Y),
    "monitoring": lambda m: gradwise.GradientMonitoring().monitor_training_step(m, functional.mse_loss, X, Y, 1),
    "hooks": lambda m: gradwise.AutogradHooks(m),
    "curvature": lambda m: curvature.Hessian(m, functional.mse_loss, (X, Y)),
    "factors": lambda m: curvature.KFAC(m, "mse", (X, Y)),
}


@pytest.mark.parametrize("use", USES)
def test_complex_parameters_are_refused_by_name(use):
    with pytest.raises(gradwise.GradwiseUsageError, match=r"weight is ComplexFloat, allowed: real numbers \(float64, "):
        USES[use](Complex())


@pytest.mark.parametrize("optimizer_class", [gradwise.AdamW, gradwise.SGD])
def test_a_one_pass_optimizer_refuses_complex_parameters(optimizer_class):
    model = nn.Sequential(nn.Linear(4, 4), Complex())
    optimizer = optimizer_class(model.parameters())
    model(X).sum().backward()
    with pytest.raises(gradwise.GradwiseUsageError, match="parameter 2 is ComplexFloat, allowed: real numbers"):
        optimizer.step()
