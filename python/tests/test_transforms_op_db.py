"""The core's transforms against torch.func, on the samples that PyTorch tests its own operators with."""

import itertools
import warnings

import pytest
import torch
from torch.testing._internal.common_methods_invocations import op_db
from torch.utils import _pytree as pytree

from gradwise import _core

SAMPLES = 2  # of each operator
MOST_INPUTS = 300  # elements: larger samples are left out
MOST_OUTPUTS = 400
SKIPPED = {
    "draws at random": (
        "bernoulli", "multinomial", "normal", "uniform", "cauchy", "exponential", "geometric", "log_normal", "rand_like",
        "randn_like", "nn.functional.dropout", "nn.functional.dropout2d", "nn.functional.dropout3d",
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
        if not primals or sum(p.numel() for p in primals) > MOST_INPUTS:
            continue
        outputs = function(*[p.clone().requires_grad_() for p in primals])
        elements = sum(o.numel() for o in outputs)
        if not any(o.requires_grad for o in outputs) or not 0 < elements <= MOST_OUTPUTS:
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
    assert_same(products, torch.func.grad(along, everything)(*primals))


@pytest.mark.parametrize("op", OPERATORS, ids=IDS)
def test_transforms_agree_with_torch_func(op):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found_any = False
        for function, primals, outputs in cases(op):
            found_any = True
            cotangents, tangents = like(outputs), like(primals)
            expected, pull_back = torch.func.vjp(function, *primals)
            values, gradients = _core.vjp(function, primals, cotangents)
            assert_same(values, expected)
            assert_same(gradients, pull_back(cotangents))
            everything = tuple(range(len(primals)))
            blocks = pytree.tree_leaves(torch.func.jacrev(function, everything)(*primals))
            assert_same(_core.jacobian(function, primals, list(everything), "reverse", None, 0), blocks)
            if op.supports_forward_ad:
                expected, pushed = torch.func.jvp(function, primals, tangents)
                values, found, _ = _core.jvp(function, primals, tangents)
                assert_same(values, expected)
                assert_same(found, pushed)
            if op.supports_gradgrad:
                second_order(op, function, primals, outputs)
        if not found_any:
            pytest.skip("no sample that is small enough and differentiable")
