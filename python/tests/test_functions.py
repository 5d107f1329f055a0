"""Functions, losses, derivatives and hooks against torch's."""

import copy
import io

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
)


def test_functions_equal_torchs():
    torch.manual_seed(0)
    x, w = torch.randn(2, 4, 3, requires_grad=True), torch.randn(3, 5, requires_grad=True)
    torch.testing.assert_close(CustomAutogradFunction.apply(x, w), x @ w)
    assert GradientComputationUtils.gradcheck(CustomAutogradFunction.apply, (x.double(), w.double()))
    softsign = lambda t: CustomAutogradFunction.activation(t, lambda a: a / (1 + a.abs()), lambda a: (1 + a.abs()) ** -2)  # noqa: E731
    torch.testing.assert_close(softsign(x), functional.softsign(x))
    g, = torch.autograd.grad(softsign(x).sum(), x)
    h, = torch.autograd.grad(functional.softsign(x).sum(), x)
    torch.testing.assert_close(g, h)


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


def test_hooks_see_gradients_and_activations(network, data):
    model = network()
    with AutogradHooks(model, patterns=["0", "0.*"]) as hooks:
        functional.cross_entropy(model(data[0]), data[1]).backward()
    seen = {(r.kind, r.name): r for r in hooks.records()}
    assert set(seen) == {
        ("parameter_gradient", "0.weight"), ("parameter_gradient", "0.bias"), ("activation", "0"),
        ("activation_gradient", "0"),
    }  # fmt: skip
    assert seen["parameter_gradient", "0.weight"].norm == pytest.approx(float(model[0].weight.grad.norm()))
    assert seen["activation", "0"].mean == pytest.approx(float(model[0](data[0]).detach().mean()), rel=1e-4)


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
