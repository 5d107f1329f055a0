"""The core's transforms against torch.func, on the samples that PyTorch tests its own operators with."""

import itertools
import warnings

import pytest
import torch
from torch.testing._internal.common_methods_invocations import op_db
from torch.utils import _pytree as pytree

from gradwise import _core, func

SAMPLES = 3  # of each operator
WITH_JACOBIANS = 2  # of them; the others with products alone
MOST_INPUTS = 300  # elements: larger samples are left out
MOST_OUTPUTS = 400
MOST_COLUMNS = 20  # elements: Jacobians in forward mode and Hessians are of smaller samples
SKIPPED = {
    "draws at random": (
        "bernoulli", "multinomial", "normal", "uniform", "cauchy", "exponential", "geometric", "log_normal",
        "rand_like", "randn_like", "nn.functional.dropout", "nn.functional.dropout2d", "nn.functional.dropout3d",
        "nn.functional.alpha_dropout", "nn.functional.feature_alpha_dropout", "nn.functional.rrelu",
        "nn.functional.fractional_max_pool2d", "nn.functional.fractional_max_pool3d", "pca_lowrank", "svd_lowrank",
        "nn.functional.multi_head_attention_forward", "nn.functional.scaled_dot_product_attention",
    ),
    "its memory is not initialised": ("empty_like", "new_empty", "new_empty_strided", "empty", "empty_strided"),
    "torch.func has no rule for it": ("sparse.mm", "to_sparse", "tensor_split", "nn.functional.linear_cross_entropy"),
    "PyTorch's own gradient of its mean alone is 0": ("native_group_norm",),
    "PyTorch's own second derivative fails where the mean has no gradient": ("native_layer_norm",),
}  # fmt: skip
REASONS = {name: reason for reason, names in SKIPPED.items() for name in names}
OPERATORS = [
    op
    for op in op_db
    if op.supports_autograd and torch.float64 in op.supported_dtypes("cpu") and op.name not in REASONS
]
WITHOUT_COLUMNS = ("as_strided_scatter",)  # torch.func has no rule for it in forward mode
IDS = [f"{op.name}.{op.variant_test_name}".strip(".") for op in OPERATORS]


def is_float(value):
    return isinstance(value, torch.Tensor) and value.layout == torch.strided and value.dtype == torch.float64


def function_of(op, sample):
    """The operator as a function of the tensors that it is differentiable by, and those."""
    leaves, spec = pytree.tree_flatten((sample.input, sample.args, sample.kwargs))
    places = [i for i, leaf in enumerate(leaves) if is_float(leaf) and leaf.requires_grad]

    def function(*primals):
        given = list(leaves)
        for place, primal in zip(places, primals, strict=True):
            given[place] = primal
        first, args, kwargs = pytree.tree_unflatten(given, spec)
        result = op(first, *args, **kwargs)
        if sample.output_process_fn_grad is not None:
            result = sample.output_process_fn_grad(result)
        return tuple(leaf for leaf in pytree.tree_leaves(result) if is_float(leaf))

    return function, tuple(leaves[i].detach().clone() for i in places)


def cases(op):
    """Functions with their primals and outputs, of samples that are small enough and have a gradient."""
    torch.manual_seed(0)
    taken = 0
    for sample in itertools.islice(op.sample_inputs("cpu", torch.float64, requires_grad=True), 20):
        function, primals = function_of(op, sample)
        if not primals or elements(primals) > MOST_INPUTS:
            continue
        try:
            outputs = function(*[p.clone().requires_grad_() for p in primals])
        except RuntimeError:  # a view of memory that copies lack
            continue
        if not any(o.requires_grad for o in outputs) or not 0 < elements(outputs) <= MOST_OUTPUTS:
            continue
        yield function, primals, outputs
        taken += 1
        if taken == SAMPLES:
            return


def like(tensors):
    return tuple(torch.randn_like(t) for t in tensors)


def assert_same(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9, equal_nan=True)


def elements(tensors):
    return sum(tensor.numel() for tensor in tensors)


def times(blocks, vectors):
    """Blocks, row by row, times vectors."""
    rows = [blocks[i : i + len(vectors)] for i in range(0, len(blocks), len(vectors))]
    return [sum(torch.tensordot(b, v, v.dim()) for b, v in zip(row, vectors, strict=True)) for row in rows]


def vectors_times(vectors, blocks):
    columns = [blocks[i :: len(vectors)] for i in range(len(vectors))]
    return [sum(torch.tensordot(v, b, v.dim()) for b, v in zip(column, vectors, strict=True)) for column in columns]


def are_finite(tensors):
    return all(tensor.isfinite().all() for tensor in tensors)


def first_order(op, function, primals, outputs):
    cotangents, tangents = like(outputs), like(primals)
    expected, pull_back = torch.func.vjp(function, *primals)
    values, gradients = _core.vjp(function, primals, cotangents)
    assert_same(values, expected)
    assert_same(gradients, pull_back(cotangents))
    if op.supports_forward_ad:
        expected, pushed = torch.func.jvp(function, primals, tangents)
        values, found, _ = _core.jvp(function, primals, tangents)
        assert_same(values, expected)
        assert_same(found, pushed)


def jacobians(op, function, primals):
    everything = tuple(range(len(primals)))
    blocks = pytree.tree_leaves(torch.func.jacrev(function, everything)(*primals))
    assert_same(_core.jacobian(function, primals, list(everything), "reverse", None, 0), blocks)
    if op.supports_gradgrad and are_finite(blocks):  # else products by blocks are NaN where others are not
        values, push = func.linearize(function, *primals)
        assert_same(values, function(*primals))
        tangents = like(primals)
        assert_same(push(*tangents), times(blocks, tangents))
    has_columns = op.supports_forward_ad and op.name not in WITHOUT_COLUMNS and all(p.numel() for p in primals)
    if has_columns and elements(primals) <= MOST_COLUMNS:
        found, expected = (which.jacfwd(function, everything)(*primals) for which in (func, torch.func))
        assert_same(pytree.tree_leaves(found), pytree.tree_leaves(expected))


def over_slices(function, primals):
    slices = [torch.stack([primal, 0.9 * primal]) for primal in primals]
    try:
        expected = torch.func.vmap(function)(*slices)
    except (RuntimeError, ValueError):  # an operator that reads values, or works in place on what has fewer slices
        return
    assert_same(func.vmap(function)(*slices), expected)


def second_order(op, function, primals, outputs):
    weights, vectors = like(outputs), like(primals)

    def scalar(*arguments):
        return sum((o * w).sum() for o, w in zip(function(*arguments), weights, strict=True))

    everything = tuple(range(len(primals)))

    def along(*arguments):
        gradients = torch.func.grad(scalar, everything)(*arguments)
        return sum((g * v).sum() for g, v in zip(gradients, vectors, strict=True))

    value, gradients, products = _core.hvp(scalar, primals, vectors)
    assert_same([value], [scalar(*primals)])
    assert_same(gradients, torch.func.grad(scalar, everything)(*primals))
    expected = torch.func.grad(along, everything)(*primals)
    assert_same(products, expected)
    if elements(primals) <= MOST_COLUMNS:
        blocks = _core.hessian(scalar, primals, list(everything), None, 0)
        if are_finite(blocks):
            assert_same(vectors_times(vectors, blocks), expected)


@pytest.mark.parametrize("op", OPERATORS, ids=IDS)
def test_transforms_agree_with_torch_func(op):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = list(cases(op))
        for function, primals, _ in given:
            over_slices(function, primals)
        for function, primals, outputs in given:
            first_order(op, function, primals, outputs)
        for function, primals, outputs in given[:WITH_JACOBIANS]:
            jacobians(op, function, primals)
            if op.supports_gradgrad:
                second_order(op, function, primals, outputs)
        if not given:
            pytest.skip("no sample that is small enough and differentiable")
