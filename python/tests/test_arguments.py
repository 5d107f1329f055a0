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


def answering(answer):
    loop = gradwise.AutogradTrainingLoop(nn.Linear(4, 2))
    loop.on("step_end", lambda _told: answer)
    loop.train_epoch([(X, Y)], functional.mse_loss)


def test_readers_of_a_run_take_a_step(tmp_path):
    model = nn.Linear(4, 2)
    gradwise.watch(model, run=tmp_path / "run").detach()
    run = gradwise.load_run(tmp_path / "run")
    for read in (run.steps, run.readings, run.activations, run.histograms, run.noise_scales):
        with pytest.raises(TypeError, match="^after is '0.weight', allowed: an int"):
            read("0.weight")


@pytest.mark.parametrize("what", ["loss", "gradients"])
def test_a_run_is_drawn_into_axes(tmp_path, what):
    gradwise.watch(nn.Linear(4, 2), run=tmp_path / "run").detach()
    with pytest.raises(TypeError, match="^ax is 3, allowed: matplotlib's Axes, or None"):
        gradwise.load_run(tmp_path / "run").plot(what, ax=3)


LINEAR = nn.Linear(4, 2)
FUNCTION, UTILITIES = gradwise.CustomAutogradFunction, gradwise.GradientComputationUtils

WRONG = {
    "input_tensor is a list, allowed: torch.Tensor": lambda: FUNCTION.apply([1], X),
    "weight is a int, allowed: torch.Tensor": lambda: FUNCTION.linear(X, 1),
    "bias is a int, allowed: torch.Tensor": lambda: FUNCTION.linear(X, LINEAR.weight, 1),
    "input is a list, allowed: torch.Tensor": lambda: FUNCTION.relu([1]),
    "input 1 is a float, allowed: torch.Tensor": lambda: gradwise.CustomLossFunction.huber()(X, 1.0),
    "operand is a list, allowed: torch.Tensor": lambda: curvature.from_matrix(torch.eye(2)) @ [1.0, 2.0],
    r"inputs\[1\] is a int, allowed: torch.Tensor": lambda: UTILITIES.jacobian(torch.add, [X, 1]),
    "outputs is a int, allowed: a torch.Tensor or several": lambda: UTILITIES.gradients(1, X),
    "loss is a float, allowed: torch.Tensor": lambda: gradwise.watch(nn.Linear(4, 2)).observe(1.0),
    "samples is 'many', allowed: an int": lambda: gradwise.watch(nn.Linear(4, 2)).step(samples="many"),
    "loss is 'low', allowed: a number": lambda: gradwise.watch(nn.Linear(4, 2)).step("low"),
    "step is '1', allowed: an int": lambda: gradwise.GradientMonitoring().monitor_training_step(
        LINEAR, functional.mse_loss, X, Y, step="1"
    ),
    "window is 'two', allowed: an int": lambda: gradwise.AutogradOptimizer(LINEAR).accumulate(
        functional.mse_loss, X, Y, "two"
    ),
    "clip_gradients is 'yes', allowed: True or False": lambda: gradwise.AutogradOptimizer(LINEAR).step(
        functional.mse_loss, X, Y, clip_gradients="yes"
    ),
    "max_grad_norm is 'one', allowed: a number": lambda: gradwise.AutogradOptimizer(LINEAR).step(
        functional.mse_loss, X, Y, max_grad_norm="one"
    ),
    "functions is a Linear, allowed: a torch.nn.Sequential, or callables of a tensor": lambda: (
        gradwise.checkpoint_sequential(LINEAR, 2, X)
    ),
    "segments is 2.5, allowed: an int": lambda: gradwise.checkpoint_sequential(nn.Sequential(LINEAR), 2.5, X),
    "stages is a Linear, allowed: a torch.nn.Sequential, or callables of a tensor": lambda: gradwise.plan_checkpoints(
        LINEAR, X, 1 << 20
    ),
    "memory_budget is 'all', allowed: an int": lambda: gradwise.plan_checkpoints(nn.Sequential(LINEAR), X, "all"),
    "point is 3, allowed: a str": lambda: gradwise.AutogradTrainingLoop(LINEAR).on(3, print),
    "callback is 3, allowed: a callable": lambda: gradwise.AutogradTrainingLoop(LINEAR).on("step_end", 3),
    'a callback answered True, allowed: None, "skip", "stop", "roll_back"': lambda: answering(True),
}


@pytest.mark.parametrize("message", WRONG)
def test_a_wrong_type_is_told_in_the_users_terms(message):
    with pytest.raises(TypeError, match=f"^{message}"):
        WRONG[message]()


NO_LOSS = {
    "three elements": (torch.ones(3), r"loss is of shape \(3,\), allowed: a number, or a tensor of one element"),
    "none": (torch.ones(0, 2), r"loss is of shape \(0, 2\), allowed"),
    "an array": (torch.ones(3).numpy(), r"loss is of shape \(3,\), allowed"),
    "complex": (torch.tensor(1 + 2j), r"loss is \(1\+2j\), allowed: a real number"),
}


@pytest.mark.parametrize("case", NO_LOSS)
def test_a_loss_is_one_real_number(case):
    loss, message = NO_LOSS[case]
    watch = gradwise.watch(nn.Linear(4, 2))
    with pytest.raises(ValueError, match=f"^{message}"):
        watch.step(loss)
    watch.step(torch.ones(1, 1))
    watch.step(torch.ones(1).numpy())
    assert watch.last_step.loss == 1
