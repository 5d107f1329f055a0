"""The transforms of gradwise.func against those of torch.func."""

import warnings

import pytest
import torch
from torch import func as peer
from torch import nn
from torch.nn import functional

import gradwise
from gradwise import func as ours

X = torch.tensor([[0.3, -1.2, 0.7], [0.1, 0.8, -0.5]], dtype=torch.float64)
Y = torch.tensor([0.4, -0.2, 1.1], dtype=torch.float64)
BOTH = [ours, peer]


def same(left, right):
    """Two results that are put together alike, of tensors that are close."""
    leaves, spec = torch.utils._pytree.tree_flatten(left)
    others, other = torch.utils._pytree.tree_flatten(right)
    assert spec == other
    for a, b in zip(leaves, others, strict=True):
        if isinstance(b, torch.Tensor):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
        else:
            assert a == b


def scalar(x, y, scale=2.0):
    return (x.sin() * y.exp() * scale).sum()


def with_aux(x, y):
    return scalar(x, y), {"sin": x.sin(), "rest": [y.exp()]}


def of_trees(batch, pair, factor):
    left, right = pair
    return {"product": batch["x"].sin() * left * factor, "pair": (left.exp(), right["y"].sum() * batch["x"])}


TREES = ({"x": X}, (Y, {"y": Y.cos()}), 3)


@pytest.mark.parametrize("argnums", [0, 1, -1, (0,), (1, 0)])
def test_gradients_values_and_aux(argnums):
    for name in ("grad", "grad_and_value"):
        expected, found = (getattr(which, name)(scalar, argnums)(X, Y, scale=1.5) for which in (peer, ours))
        same(found, expected)
        expected, found = (getattr(which, name)(with_aux, argnums, has_aux=True)(X, Y) for which in (peer, ours))
        same(found, expected)


def test_gradients_by_what_is_inside_of_containers():
    def loss(parameters, x, power):
        return (functional.linear(x, parameters["weight"], parameters["bias"]) ** power).sum()

    parameters = {"weight": X.clone(), "bias": torch.ones(2, dtype=torch.float64)}
    same(ours.grad(loss)(parameters, Y, 3), peer.grad(loss)(parameters, Y, 3))
    assert ours.grad_and_value(lambda x: (x.sum(), ("word", None)), has_aux=True)(X)[1][1] == ("word", None)


def test_functional_call_as_torch_func_is_used():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(parameters, x, target):
        return functional.cross_entropy(peer.functional_call(model, parameters, (x[None],)), target[None])

    x, target = torch.randn(7, 3, dtype=torch.float64), torch.randint(0, 2, (7,))
    found, expected = (w.vmap(w.grad(loss), in_dims=(None, 0, 0))(parameters, x, target) for w in BOTH)
    same(found, expected)


def test_vector_products():
    cotangents = {"product": X.exp(), "pair": (Y.exp(), X.cos())}
    found, expected = (which.vjp(lambda a, b: of_trees(a, b, 3), *TREES[:2]) for which in BOTH)
    same(found[0], expected[0])
    for weights in (cotangents, {"product": X, "pair": (Y, X)}):
        same(found[1](weights), expected[1](weights))
    tangents = ({"x": X.exp()}, (Y.exp(), {"y": Y.sin()}))
    same(*(which.jvp(lambda a, b: of_trees(a, b, 3), TREES[:2], tangents) for which in BOTH))
    found, expected = (which.linearize(lambda a, b: of_trees(a, b, 3), *TREES[:2]) for which in BOTH)
    same(found[0], expected[0])
    same(found[1](*tangents), expected[1](*tangents))
    found, expected = (which.vjp(with_aux, X, Y, has_aux=True) for which in BOTH)
    same((found[0], found[1](X.sum()), found[2]), (expected[0], expected[1](X.sum()), expected[2]))
    same(*(which.jvp(with_aux, (X, Y), (X.exp(), Y.exp()), has_aux=True) for which in BOTH))


@pytest.mark.parametrize("name", ["jacrev", "jacfwd"])
@pytest.mark.parametrize("argnums", [0, 1, (1, 0)])
def test_jacobians(name, argnums):
    found, expected = (getattr(which, name)(of_trees, argnums)(*TREES) for which in BOTH)
    same(found, expected)
    found, expected = (getattr(which, name)(with_aux, argnums, has_aux=True)(X, Y) for which in BOTH)
    same(found, expected)


def test_hessians():
    same(ours.hessian(scalar)(X, Y), peer.hessian(scalar)(X, Y))
    same(ours.hessian(scalar, (0, 1))(X, Y), peer.hessian(scalar, (0, 1))(X, Y))
    same(ours.jacrev(ours.grad(scalar), chunk_size=4)(X, Y), peer.hessian(scalar)(X, Y))


@pytest.mark.parametrize(
    "in_dims, out_dims",
    [(0, 0), ((0, None), 0), ((1, 0), 1), ((-1, 0), {"a": 1, "b": (0, -1)}), (({"x": 1}, None), 0)],
)
def test_vmap_over_dimensions(in_dims, out_dims):
    x, y = torch.randn(3, 3, dtype=torch.float64), torch.randn(3, 3, dtype=torch.float64)
    nested = isinstance(in_dims, tuple) and isinstance(in_dims[0], dict)

    def function(x, y, shift=0.0):
        x = x["x"] if nested else x
        return {"a": x * y + shift, "b": (x.dot(y if y.dim() == 1 else y[0]).expand(2), x.sin())}

    given = ({"x": x} if nested else x, y)
    same(*(which.vmap(function, in_dims, out_dims)(*given, shift=0.5) for which in BOTH))
    same(ours.vmap(function, in_dims, out_dims, chunk_size=2)(*given), peer.vmap(function, in_dims, out_dims)(*given))


def test_vmap_of_something_random():
    x = torch.zeros(4, 3)
    add_noise = lambda row: row + torch.randn(3)  # noqa: E731
    with pytest.raises(RuntimeError, match="randomness"):
        ours.vmap(add_noise)(x)
    drawn = ours.vmap(add_noise, randomness="different")(x)
    assert not torch.equal(drawn[0], drawn[1])
    drawn = ours.vmap(add_noise, randomness="same")(x)
    assert torch.equal(drawn[0], drawn[1])


def test_vmap_of_results_that_are_the_same_for_all():
    function = lambda row: (row.sum(), Y, {"twice": Y + Y})  # noqa: E731
    out_dims = (0, None, {"twice": None})
    same(*(which.vmap(function, out_dims=out_dims)(X) for which in BOTH))
    same(ours.vmap(function, out_dims=out_dims, chunk_size=1)(X), peer.vmap(function, out_dims=out_dims)(X))
    nested = ours.vmap(lambda a: ours.vmap(lambda b: (a * b, a), out_dims=(0, None))(Y))
    same(nested(Y), (Y.outer(Y), Y))
    with pytest.raises(gradwise.GradwiseUsageError, match="out_dims has None for result 0, which differs"):
        ours.vmap(torch.sin, out_dims=None)(X)


def test_columns_of_something_random():
    noisy = lambda x: torch.randn(3, dtype=x.dtype) * x.sum()  # noqa: E731
    alike = ours.jacfwd(noisy)(Y)
    assert torch.equal(alike[:, 0], alike[:, 2])
    different = ours.jacfwd(noisy, randomness="different")(Y)
    assert not torch.equal(different[:, 0], different[:, 2])
    with pytest.raises(RuntimeError, match="randomness"):
        ours.jacfwd(noisy, randomness="error")(Y)


def test_two_backward_passes_where_there_is_no_forward_mode():
    places = torch.tensor([0, 0, 1])

    def means(x):
        return torch.zeros(2, dtype=x.dtype).index_reduce(0, places, x.exp(), "mean", include_self=False)

    with pytest.warns(UserWarning, match=r"\[jvp\] made by two backward passes.*index_reduce"):
        value, tangent = ours.jvp(means, (Y,), (X[0],))
    torch.testing.assert_close(value, means(Y))
    torch.testing.assert_close(tangent, peer.jacrev(means)(Y) @ X[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # once is enough
        assert torch.equal(ours.jvp(means, (Y,), (X[0],))[1], tangent)
    utils = gradwise.autograd_utils.GradientComputationUtils
    wide = lambda x: means(x).repeat(2)  # noqa: E731  more outputs than inputs: forward mode is tried
    torch.testing.assert_close(utils.jacobian(wide, Y), peer.jacrev(wide)(Y))


def test_interruptions_are_not_fallen_back_from():
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ours.jvp(interrupted, (Y,), (Y,))


def test_transforms_nest_with_torchs():
    expected = peer.vmap(peer.grad(lambda x: x.sin().prod()))(X)
    for outer, inner in ((ours, ours), (ours, peer), (peer, ours)):
        same(outer.vmap(inner.grad(lambda x: x.sin().prod()))(X), expected)
    third = ours.grad(ours.grad(ours.grad(torch.sin)))(Y[0])
    torch.testing.assert_close(third, -Y[0].cos())


def test_what_is_captured_can_be_differentiated_by():
    weight = Y.clone().requires_grad_()
    slope = ours.grad(lambda x: (x.sin() * weight).sum())(X)
    (by_weight,) = torch.autograd.grad(slope.sum(), weight)
    torch.testing.assert_close(by_weight, X.cos().sum(0))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: ours.grad(scalar, 2)(X, Y), "argnums is 2, the function has 2 arguments"),
        (lambda: ours.grad(scalar)(3, Y), "argument 0 has something in it that is no tensor"),
        (lambda: ours.grad(lambda x: x.sin())(X), r"\[grad\] the function has .*, allowed: one scalar"),
        (lambda: ours.grad_and_value(lambda x: x.sin())(X), r"\[grad_and_value\] .*, allowed: one scalar"),
        (lambda: ours.grad(lambda z: z.abs().sum())(X + 0j), "argument 0 is of the complex type .*torch.func takes"),
        (lambda: ours.vjp(lambda x: x + 1j, X), "output 0 is of the complex type"),
        (lambda: ours.jvp(torch.abs, (X + 0j,), (X + 0j,)), "primal 0 is of the complex type"),
        (lambda: ours.grad(lambda x: x.sum(), has_aux=True)(X), r"allowed with has_aux: a tuple \(output, aux\)"),
        (lambda: ours.jvp(scalar, [X, Y], (X, Y)), "allowed: a tuple of at least one argument"),
        (lambda: ours.jvp(torch.sin, (X,), X), "tangents are put together as"),
        (lambda: ours.vjp(torch.sin, X)[1]((X,)), "cotangents are put together as"),
        (lambda: ours.vjp(lambda x: (x, 3), X), "the function gave a <class 'int'>, allowed: tensors"),
        (lambda: ours.vmap(scalar, (0, 0))(X, 3), "in_dims has 0 for a <class 'int'>"),
        (lambda: ours.vmap(scalar, (0, 0, 0))(X, X), r"in_dims is \(0, 0, 0\)"),
        (lambda: ours.vmap(torch.sin, out_dims=(0, 1))(X), r"out_dims is \(0, 1\)"),
        (lambda: ours.vmap(torch.sin, randomness="none")(X), 'randomness is "none", allowed: error, different, same'),
        (lambda: ours.vmap(scalar)(X, Y), "argument 1 has 3 slices, those before have 2"),
    ],
)
def test_errors(call, message):
    with pytest.raises(gradwise.GradwiseUsageError, match=message):
        call()


def test_what_is_no_function():
    with pytest.raises(TypeError, match="func is 3, allowed: a callable"):
        ours.grad(3)(X)
