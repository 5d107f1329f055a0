"""Functions, losses, derivatives and hooks against torch's."""

import copy
import io
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

import gradwise
from gradwise.autograd_utils import (
    AutogradHooks,
    CustomAutogradFunction,
    CustomLossFunction,
    GradientComputationUtils,
    LossDefinition,
)


def test_functions_equal_torchs():
    torch.manual_seed(0)
    x, w = torch.randn(2, 4, 3, requires_grad=True), torch.randn(3, 5, requires_grad=True)
    torch.testing.assert_close(CustomAutogradFunction.apply(x, w), x @ w)
    assert GradientComputationUtils.gradcheck(CustomAutogradFunction.apply, (x.double(), w.double()))
    value, slope = (lambda a: a / (1 + a.abs())), (lambda a: (1 + a.abs()) ** -2)
    softsign = lambda t: CustomAutogradFunction.activation(t, value, slope)  # noqa: E731
    torch.testing.assert_close(softsign(x), functional.softsign(x))
    g, = torch.autograd.grad(softsign(x).sum(), x)
    h, = torch.autograd.grad(functional.softsign(x).sum(), x)
    torch.testing.assert_close(g, h)


def test_products_under_autocast_equal_torchs():
    torch.manual_seed(0)
    shapes = (6, 4), (5, 4), (5,), (5, 3)
    values = [torch.randn(shape) for shape in shapes]
    found = []
    for linear, matmul in (
        (CustomAutogradFunction.linear, CustomAutogradFunction.apply),
        (functional.linear, torch.matmul),
    ):
        x, w, bias, last = (value.clone().requires_grad_() for value in values)
        with torch.autocast("cpu", torch.bfloat16):
            hidden = linear(x, w, bias).relu()
            output = matmul(hidden, last)
        output.float().square().sum().backward()
        found.append([hidden, output, x.grad, w.grad, bias.grad, last.grad])
    for ours, theirs in zip(*found, strict=True):
        assert ours.dtype == theirs.dtype
        torch.testing.assert_close(ours, theirs, rtol=2e-2, atol=2e-2)
    with torch.autocast("cpu", torch.bfloat16):
        assert CustomAutogradFunction.linear(*(value.double() for value in values[:3])).dtype == torch.float64
        with pytest.raises(ValueError, match="input is Double and weight BFloat16, allowed: one type"):
            CustomAutogradFunction.linear(values[0].double(), values[1])


def test_checks_warn_of_inputs_that_are_not_of_float64():
    utils = GradientComputationUtils
    x, y = torch.ones(2, requires_grad=True), torch.ones(2, dtype=torch.float64, requires_grad=True)
    for check in (utils.gradcheck, utils.gradgradcheck):
        with pytest.warns(UserWarning, match=r"input 1 is of torch.float32: .* float64"):
            check(lambda a, b: (a * b).sum(), (y, x), raise_exception=False)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert check(lambda a, b: (a * b.double()).sum(), (y, x.detach()))


def test_losses_equal_torchs():
    torch.manual_seed(0)
    output, target = torch.randn(6, 3), torch.randint(0, 3, (6,))
    torch.testing.assert_close(
        CustomLossFunction.label_smoothed_cross_entropy(0.2)(output, target),
        functional.cross_entropy(output, target, label_smoothing=0.2),
    )
    a, b, c = torch.randn(3, 6, 4)
    torch.testing.assert_close(
        CustomLossFunction.triplet(0.5, reduction="sum")(a, b, c),
        functional.triplet_margin_loss(a, b, c, 0.5, reduction="sum"),
    )
    torch.testing.assert_close(CustomLossFunction.huber(0.7)(a, b), functional.huber_loss(a, b, delta=0.7))
    with pytest.raises(ValueError, match="allowed: none, mean, sum"):
        CustomLossFunction.huber(reduction="median")


def test_derivatives_equal_torch_func():
    torch.manual_seed(0)
    utils = GradientComputationUtils
    x, y = torch.randn(4, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)

    def f(x, y):
        return torch.tanh(y @ x) * x.sum()

    for ours, theirs in zip(utils.jacobian(f, (x, y)), torch.func.jacrev(f, (0, 1))(x, y), strict=True):
        torch.testing.assert_close(ours, theirs)
    scalar = lambda x: (x**3).sum() * x.prod()  # noqa: E731
    torch.testing.assert_close(utils.hessian(scalar, x), torch.func.hessian(scalar)(x))
    v = torch.randn(4, dtype=torch.float64)
    torch.testing.assert_close(utils.hessian_vector_product(scalar, x, v)[1], torch.func.hessian(scalar)(x) @ v)
    value, tangent = utils.jvp(f, (x, y), (v, y))
    expected = torch.func.jvp(f, (x, y), (v, y))
    torch.testing.assert_close((value, tangent), expected)
    out, pulled = utils.vjp(lambda x: f(x, y), x, torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(pulled, torch.func.vjp(lambda x: f(x, y), x)[1](torch.ones(3, dtype=torch.float64))[0])


def test_jacobians_keep_to_a_bound_of_memory():
    utils = GradientComputationUtils
    wide = torch.linspace(0, 1, 64 * 2048, dtype=torch.float64).reshape(64, 2048)
    x = torch.linspace(-1, 1, 64, dtype=torch.float64)
    function = lambda x: (x[:, None] * wide).sin().cos().sum(1)  # noqa: E731
    scalar = lambda x: function(x).sin().sum()  # noqa: E731
    bound = 16 * wide.numel() * 8  # one row takes three such matrices
    for name, of in (("jacobian", function), ("hessian", scalar)):

        def peak(**options):
            with gradwise._core.PeakMemory() as memory:
                found = getattr(utils, name)(of, x, **({"mode": "reverse"} if name == "jacobian" else {}), **options)
            return memory.peak_bytes, found

        one_row, expected = peak(chunk_size=1)
        bounded, found = peak(memory_bound=bound)
        torch.testing.assert_close(found, expected)
        assert one_row < bounded <= one_row + bound
        assert peak()[0] > one_row + 4 * bound
    with pytest.raises(ValueError, match="memory_bound is -1, allowed: >= 0"):
        utils.jacobian(function, x, memory_bound=-1)


def test_hooks_see_gradients_and_activations(network, data):
    model = network()
    with pytest.raises(ValueError, match='no parameter and no layer matches "nope", allowed: names as 0.weight'):
        AutogradHooks(model, patterns=["0", "nope"])
    with AutogradHooks(model, patterns=["0", "0.*"]) as hooks:
        functional.cross_entropy(model(data[0]), data[1]).backward()
    seen = {(r.kind, r.name): r for r in hooks.records()}
    assert set(seen) == {
        ("parameter_gradient", "0.weight"), ("parameter_gradient", "0.bias"), ("activation", "0"),
        ("activation_gradient", "0"),
    }  # fmt: skip
    assert seen["parameter_gradient", "0.weight"].norm == pytest.approx(float(model[0].weight.grad.norm()))
    assert seen["activation", "0"].mean == pytest.approx(float(model[0](data[0]).detach().mean()), rel=1e-4)


class LogCosh(LossDefinition):
    def check(self, *inputs):
        if len(inputs) != 2 or inputs[0].shape != inputs[1].shape:
            raise ValueError("two of one shape")

    def losses(self, input, target):
        return (input - target).cosh().log()

    def gradients(self, grad_losses, needed, input, target):
        slope = (input - target).tanh() * grad_losses
        return slope, -slope if needed[1] else None


class Padded(LogCosh):
    """Where the target is 0 there is nothing to predict."""

    def losses(self, input, target):
        return super().losses(input, target) * (target != 0)

    def gradients(self, grad_losses, needed, input, target):
        return super().gradients(grad_losses * (target != 0), needed, input, target)

    def count(self, losses, input, target):
        return (target != 0).sum()


def log_cosh(x, y, reduction="mean"):
    losses = (x - y).cosh().log()
    return losses if reduction == "none" else getattr(losses, reduction)()


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_a_loss_of_ones_own(reduction):
    torch.manual_seed(0)
    x, y = (torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    loss_function = LogCosh(reduction)
    assert isinstance(loss_function, nn.Module) and reduction in repr(loss_function)
    torch.testing.assert_close(loss_function(x, y), log_cosh(x, y, reduction))
    utils = GradientComputationUtils
    assert utils.gradcheck(loss_function, (x, y)) and utils.gradgradcheck(loss_function, (x, y))
    found = torch.autograd.grad(loss_function(x, y).sum(), (x, y))
    torch.testing.assert_close(found, torch.autograd.grad(log_cosh(x, y, reduction).sum(), (x, y)))


def test_a_loss_of_ones_own_counts_what_counts_and_goes_through_transforms(network, data):
    x, y = torch.tensor([[1.0, 5.0]], requires_grad=True), torch.tensor([[2.0, 0.0]])
    loss = Padded()(x, y)
    torch.testing.assert_close(loss, log_cosh(x[:, 0], y[:, 0]))
    torch.testing.assert_close(torch.autograd.grad(loss, x)[0], torch.tensor([[1.0, 0.0]]) * (x - y).tanh())
    slopes = torch.func.vmap(torch.func.grad(LogCosh()))(torch.ones(3, 2), torch.zeros(3, 2))
    torch.testing.assert_close(slopes, torch.ones(3, 2).tanh() / 2)
    targets = functional.one_hot(data[1], 3).float()
    own, plain = (gradwise.AutogradOptimizer(network()) for _ in range(2))
    for _ in range(3):
        mine, theirs = own.step(LogCosh(), data[0], targets), plain.step(log_cosh, data[0], targets)
        assert mine.loss == theirs.loss and mine.grad_norm == pytest.approx(theirs.grad_norm, rel=1e-5)


def test_a_loss_of_ones_own_says_what_is_wrong_with_it():
    x, y = torch.ones(2, requires_grad=True), torch.zeros(2)
    with pytest.raises(ValueError, match="reduction is 'most', allowed: mean, sum, none"):
        LogCosh("most")
    with pytest.raises(ValueError, match="two of one shape"):
        LogCosh()(x, torch.zeros(3))
    with pytest.raises(NotImplementedError, match=r"LossDefinition has no losses"):
        LossDefinition()(x, y)

    class Single(LogCosh):
        def gradients(self, grad_losses, needed, input, target):
            return grad_losses

    class Misshapen(LogCosh):
        def gradients(self, grad_losses, needed, input, target):
            return grad_losses.sum(), None

    with pytest.raises(gradwise.GradwiseUsageError, match="Single.gradients gave Tensor, allowed: a tuple of 2"):
        Single()(x, y).backward()
    with pytest.raises(gradwise.GradwiseUsageError, match=r"Misshapen.gradients gave \(\) for input 0 of \(2,\)"):
        Misshapen()(x, y).backward()


def with_gradients(model, data):
    functional.cross_entropy(model(data[0]), data[1]).backward()
    return model


def test_clipping_is_torchs_and_by_unit_the_papers(network, data):
    utils = GradientComputationUtils
    for method, clip in {"norm": nn.utils.clip_grad_norm_, "value": nn.utils.clip_grad_value_}.items():
        ours, theirs = with_gradients(network(), data), with_gradients(network(), data)
        norm = float(nn.utils.get_total_norm([p.grad for p in theirs.parameters()]))
        clip(theirs.parameters(), 0.01)
        assert utils.clip_gradients(ours, 0.01, method) == pytest.approx(norm)
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(p.grad, q.grad)
    model, before = network(), with_gradients(network(), data)
    clipped = with_gradients(model, data)
    utils.clip_gradients(clipped, method="agc", agc_lambda=0.02, agc_eps=0.3)
    scaled = 0
    for p, q in zip(clipped.parameters(), before.parameters(), strict=True):
        tensors = p.detach(), q.grad, p.grad
        for weights, gradient, found in zip(*tensors, strict=True) if p.dim() > 1 else [tensors]:
            bound = 0.02 * max(float(weights.norm()), 0.3)
            scaled += float(gradient.norm()) > bound
            torch.testing.assert_close(found, gradient * min(1.0, bound / float(gradient.norm())))
    assert 0 < scaled
    with pytest.raises(ValueError, match="method is 'most', allowed: 'norm', 'value', 'agc'"):
        utils.clip_gradients(model, method="most")
    with pytest.raises(ValueError, match="agc_lambda is 0"):
        utils.clip_gradients(model, method="agc", agc_lambda=0.0)


def test_parts_accumulate_to_the_whole(network, data):
    whole, parts = with_gradients(network(), data), network()
    for rows in (slice(0, 10), slice(10, 60)):
        x, y = data[0][rows], data[1][rows]
        GradientComputationUtils.accumulate_gradients(functional.cross_entropy(parts(x), y), parts, len(x) / 60)
    for p, q in zip(parts.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad)
    with pytest.raises(gradwise.GradwiseUsageError, match="the loss has 3 elements, allowed: one"):
        GradientComputationUtils.accumulate_gradients(parts(data[0][:1]), parts)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(4, 5, batch_first=True), nn.Sequential(nn.Linear(5, 5), nn.ReLU())
        self.attention = nn.MultiheadAttention(5, 1, batch_first=True)

    def forward(self, x):
        out, (h, _) = self.lstm(x)
        return {"logits": self.attention(out, out, out)[0].mean(1), "last": self.head(h[-1])}


LAYERS = {"lstm", "lstm[1][0]", "lstm[1][1]", "head.0", "head.1", "attention", "attention[1]"}


@pytest.mark.parametrize(
    "patterns, expected",
    [
        ("*", LAYERS | {"Recurrent", "Recurrent[last]"}),
        ("lstm*", {"lstm", "lstm[1][0]", "lstm[1][1]"}),
        (["lstm[1][?]"], {"lstm[1][0]", "lstm[1][1]"}),
        (["head"], {"head"}),
        (["head*"], {"head", "head.0", "head.1"}),
        (["head.*", "att*n"], {"head.0", "head.1", "attention"}),
    ],
)
def test_hooks_see_outputs_of_several_tensors_and_of_containers(patterns, expected):
    torch.manual_seed(0)
    model, x = Recurrent(), torch.randn(2, 3, 4)
    with AutogradHooks(model, patterns) as hooks:
        output = model(x)
        (output["logits"].sum() + output["last"].sum()).backward()
    seen = {r.name: r for r in hooks.records() if r.kind == "activation"}
    assert set(seen) == expected
    out, (h, c) = model.lstm(x)
    references = {"lstm": out, "lstm[1][0]": h, "lstm[1][1]": c, "head": output["last"], "Recurrent": output["logits"]}
    for name in expected & set(references):
        assert seen[name].norm == pytest.approx(float(references[name].detach().norm()), rel=1e-5)
    back = {r.name for r in hooks.records() if r.kind == "activation_gradient"}
    assert back == expected - {"lstm[1][1]", "attention[1]"}  # which the loss does not use


def test_hooks_on_a_model_of_one_layer():
    model, x = nn.Linear(4, 3), torch.randn(2, 4)
    with AutogradHooks(model) as hooks:
        model(x).sum().backward()
    assert {(r.kind, r.name) for r in hooks.records()} == {
        ("activation", "Linear"), ("activation_gradient", "Linear"), ("parameter_gradient", "weight"),
        ("parameter_gradient", "bias"),
    }  # fmt: skip


def test_find_nonfinite_names_operator_and_layer(network, data):
    model = network()
    assert gradwise.find_nonfinite(model, functional.cross_entropy, *data) is None
    bad = lambda output, target: torch.log(-output.abs()).mean()  # noqa: E731
    found = gradwise.find_nonfinite(model, bad, *data)
    assert found.phase == "forward" and found.op == "aten::log" and found.layer == "2"


def test_copies_and_files_of_a_hooked_model_have_no_hooks(network, data):
    model = network()
    with AutogradHooks(model) as hooks:
        file = io.BytesIO()
        torch.save(model, file)
        loaded = torch.load(io.BytesIO(file.getvalue()), weights_only=False)
        for twin in (copy.deepcopy(model), loaded):
            functional.cross_entropy(twin(data[0]), data[1]).backward()
        assert hooks.records() == []
        functional.cross_entropy(model(data[0]), data[1]).backward()
        assert {seen.name for seen in hooks.records() if seen.kind == "activation"} == {"0", "1", "2"}
    torch.testing.assert_close(loaded(data[0]), model(data[0]))
