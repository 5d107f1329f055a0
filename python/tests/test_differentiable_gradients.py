"""Functions of the user's own whose backward can't be differentiated, is not linear, or reads values."""

import pytest
import torch
from torch import func as peer
from torch import nn
from torch.nn import functional

import gradwise
from gradwise import func as ours

X = torch.tensor([[0.3, -1.2, 0.7], [0.1, 0.8, -0.5]], dtype=torch.float64)
Y = torch.tensor([0.4, -0.2, 1.1], dtype=torch.float64)


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return 2 * ctx.saved_tensors[0] * gradient


class Detached(Once):
    @staticmethod
    def backward(ctx, gradient):
        return 2 * ctx.saved_tensors[0].detach() * gradient.detach()


class Triple(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 3 * x

    @staticmethod
    def backward(ctx, gradient):
        return 3 * gradient


@pytest.mark.parametrize("square", [Once, Detached])
@pytest.mark.parametrize("rest", [lambda x: 0 * x, lambda x: x**3], ids=["alone", "beside"])
def test_second_derivatives_of_what_has_none_are_refused(square, rest):
    utils = gradwise.autograd_utils.GradientComputationUtils
    function = lambda x: square.apply(x) + rest(x)  # noqa: E731
    scalar = lambda x: function(x).sum()  # noqa: E731
    slope = ours.grad(scalar)
    torch.testing.assert_close(slope(Y), peer.grad(lambda x: (x**2 + rest(x)).sum())(Y))
    torch.testing.assert_close(ours.jacrev(function)(Y), peer.jacrev(lambda x: x**2 + rest(x))(Y))
    for call in (
        lambda: utils.hessian_vector_product(scalar, Y, Y),
        lambda: utils.hessian(scalar, Y),
        lambda: ours.linearize(function, Y),
        lambda: ours.jvp(function, (Y,), (Y,)),
        lambda: ours.grad(lambda x: slope(x).sum())(Y),
        lambda: ours.jacrev(ours.jacrev(function))(Y),
    ):
        with pytest.raises(gradwise.GradwiseUsageError, match=f"{square.__name__}Backward gives a gradient that is"):
            call()


class HalfDetached(Once):
    @staticmethod
    def backward(ctx, gradient):
        return 2 * ctx.saved_tensors[0] * gradient.detach()


class Clamped(Once):
    @staticmethod
    def backward(ctx, gradient):
        return (2 * ctx.saved_tensors[0] * gradient).clamp(-0.1, 0.1)


@pytest.mark.parametrize("square", [HalfDetached, Clamped])
def test_a_backward_that_is_not_linear_is_refused_where_it_is_transposed(square):
    class Squares(nn.Module):
        def forward(self, x):
            return square.apply(x)

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), Squares()).double()
    v = torch.ones(12, dtype=torch.float64)
    for call in (
        lambda: ours.linearize(square.apply, Y),
        lambda: ours.jvp(lambda x: square.apply(x.sin()).exp(), (Y,), (Y,)),
        lambda: gradwise.curvature.GaussNewton(model, functional.mse_loss, (X, X)) @ v,
        lambda: gradwise.curvature.Fisher(model, "mse", (X, X)) @ v,
    ):
        with pytest.raises(gradwise.GradwiseUsageError, match=f"{square.__name__}Backward gives .* not linear in the"):
            call()


OPERATORS = {
    "softmax": lambda x: x.softmax(-1),
    "sum of a softmax": lambda x: x.softmax(-1).sum(),
    "layer_norm": lambda x: functional.layer_norm(x, x.shape[-1:]),
    "mean of a layer_norm": lambda x: functional.layer_norm(x, x.shape[-1:]).mean(),
    "logsumexp": lambda x: x.logsumexp(-1),
    "cumprod": lambda x: x.cumprod(-1),
    "matmul": lambda x: x @ x.mT,
    "sort": lambda x: x.sort(-1).values,
    "norm": lambda x: x.norm(),
    "round": lambda x: x.round() + 0 * x,
    "cancellation": lambda x: x * 4096 - x * 4095,
    "tiny": lambda x: x * 1e-7,
}


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS.keys())
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_operators_as_functions_of_ones_own_are_taken_for_linear(operator, dtype):
    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return operator(x)

        @staticmethod
        def backward(ctx, gradient):
            with torch.enable_grad():
                x = ctx.saved_tensors[0].clone()
                return torch.autograd.grad(operator(x), x, gradient, create_graph=True)[0]

    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64).to(dtype)
    tangent = ours.linearize(Own.apply, x)[1](x.cos())
    exact = peer.jvp(operator, (x.double(),), (x.cos().double(),))[1]
    tolerance = {torch.float64: 1e-11, torch.float32: 1e-3}.get(dtype)
    if tolerance is not None:
        torch.testing.assert_close(tangent.double(), exact, rtol=tolerance, atol=tolerance)


def test_functions_of_ones_own_that_are_linear_have_a_hessian_of_zeros():
    utils = gradwise.autograd_utils.GradientComputationUtils
    linear = lambda x: Triple.apply(x).sum()  # noqa: E731
    assert not utils.hessian(linear, Y).any()
    assert not utils.hessian_vector_product(linear, Y, Y)[1].any()
    torch.testing.assert_close(ours.linearize(Triple.apply, Y)[1](Y), 3 * Y)


def test_rows_one_by_one_where_a_backward_reads_values():
    class Reading(Once):
        @staticmethod
        def backward(ctx, gradient):
            return 2 * ctx.saved_tensors[0] * gradient if gradient.abs().max().item() > 0 else gradient

    utils = gradwise.autograd_utils.GradientComputationUtils
    torch.testing.assert_close(utils.jacobian(Reading.apply, Y, mode="reverse"), torch.diag(2 * Y))
