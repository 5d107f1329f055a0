"""Per-sample gradients of torch's own modules against torch.func."""

import math
import os
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

import gradwise


def by_torch(model, loss_function, x, y):
    """vmap of grad over the samples, each a batch of one."""
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(parameters, x, y):
        return loss_function(functional_call(model, parameters, (x.unsqueeze(0),)), y.unsqueeze(0))

    return vmap(grad(loss), (None, 0, 0), randomness="different")(parameters, x, y)


def by_loop(model, loss_function, x, y):
    names, parameters = zip(*model.named_parameters())
    rows = [torch.autograd.grad(loss_function(model(x[i : i + 1]), y[i : i + 1]), parameters) for i in range(len(x))]
    return {name: torch.stack(gradients) for name, gradients in zip(names, zip(*rows))}


def assert_equal(found, expected, tolerance=1e-10):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(
            found[name], tensor, rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )


class Cells(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.cell = cell
        self.head = nn.Linear(cell.hidden_size, 3)

    def forward(self, x):
        state = None
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.head(state[0] if isinstance(state, tuple) else state)


class Attention(nn.Module):
    def __init__(self, batch_first):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=batch_first)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = x if self.attention.batch_first else x.transpose(0, 1)
        out = self.attention(x, x, x, need_weights=False)[0]
        return self.head(out if self.attention.batch_first else out.transpose(0, 1)).mean(1)


class OwnQueries(nn.Module):
    """Query, key and value differ: the packed weight is taken in parts."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        return self.attention(x.sin(), x.cos(), x)[0].sum(1)[:, :3]


def sequences():
    return torch.randn(5, 6, 4, dtype=torch.float64)


def images():
    return torch.randn(5, 4, 6, 6, dtype=torch.float64)


MODELS = {
    "lstm_cell": (lambda: Cells(nn.LSTMCell(4, 3)), sequences),
    "gru_cell": (lambda: Cells(nn.GRUCell(4, 3)), sequences),
    "rnn_cell": (lambda: Cells(nn.RNNCell(4, 3)), sequences),
    "attention": (lambda: Attention(batch_first=True), sequences),
    "time_major_attention": (lambda: Attention(batch_first=False), sequences),
    "own_queries": (OwnQueries, sequences),
    "encoder_layer": (
        lambda: nn.Sequential(
            nn.TransformerEncoderLayer(4, 2, 8, dropout=0, batch_first=True), nn.Flatten(), nn.Linear(24, 3)
        ),
        sequences,
    ),
    "convolutions": (
        lambda: nn.Sequential(
            nn.Conv2d(4, 6, 3, padding=1, groups=2),
            nn.GroupNorm(3, 6),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 4, 2, stride=2),
            nn.Flatten(),
            nn.Linear(4, 3),
        ),
        images,
    ),
    "norms": (
        lambda: nn.Sequential(nn.InstanceNorm2d(4, affine=True), nn.LayerNorm([6, 6]), nn.Flatten(), nn.Linear(144, 3)),
        images,
    ),
    "batch_norm_in_evaluation": (
        lambda: nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 3)).eval(),
        images,
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_equal_to_torch_func(name):
    torch.manual_seed(2)
    make, data = MODELS[name]
    model, x, y = make().double(), data(), torch.tensor([0, 2, 1, 1, 0])
    reference = by_loop if "cell" in name else by_torch  # cells add in place, which torch.func refuses
    expected = reference(model, functional.cross_entropy, x, y)
    per_sample = gradwise.PerSampleGradients(model, functional.cross_entropy)
    assert_equal(per_sample.gradients(x, y), expected)
    assert per_sample.loop_reason == ""
    norms = torch.stack([g.flatten(1).square().sum(1) for g in expected.values()]).sum(0).sqrt()
    torch.testing.assert_close(per_sample.norms(x, y).norms, norms, rtol=1e-10, atol=1e-10)
    assert all(p.grad is None for p in model.parameters())


def test_functions_of_one_batch_in_float32(network, data):
    model = network()
    x, y = data
    expected = by_torch(model, functional.cross_entropy, x, y)
    assert_equal(gradwise.per_sample_gradients(model, functional.cross_entropy, x, y), expected, 1e-5)
    norms = gradwise.per_sample_norms(model, functional.cross_entropy, x, y)
    rows = torch.cat([g.flatten(1) for g in expected.values()], 1)
    torch.testing.assert_close(norms, rows.norm(dim=1))
    per_sample = gradwise.PerSampleGradients(model, functional.cross_entropy)
    torch.testing.assert_close(per_sample.inner_products(x, y), rows @ rows.T, rtol=1e-4, atol=1e-5)
    clipped = per_sample.clipped_gradient(x, y, max_norm=0.1)
    torch.testing.assert_close(clipped.norms, norms)
    whole = torch.cat([g.flatten() for g in clipped.gradient.values()])
    torch.testing.assert_close(whole, (rows * (0.1 / norms).clamp(max=1)[:, None]).sum(0), rtol=1e-3, atol=1e-5)
    moments = per_sample.moments(x, y)
    torch.testing.assert_close(
        torch.cat([m.flatten() for m in moments.second_moment.values()]), rows.square().mean(0), rtol=1e-4, atol=1e-7
    )
    noise = per_sample.noise_scale(x, y)
    assert noise.variance == pytest.approx(float(rows.var(0).sum()), rel=1e-3)
    assert math.isnan(noise.noise_scale) or noise.noise_scale == pytest.approx(noise.variance / noise.squared_norm)


def test_a_loss_that_needs_no_target_and_reads_its_numbers(network, data):
    model, (x, _) = network(dtype=torch.float64), data
    x = x.double()
    found = gradwise.per_sample_gradients(model, lambda output, target: output.square().sum() * float(output[0, 0]), x)
    parameters = list(model.parameters())
    for i in (0, 59):
        output = model(x[i : i + 1])
        alone = torch.autograd.grad(output.square().sum() * float(output[0, 0]), parameters)
        for gradient, expected in zip(found.values(), alone):
            torch.testing.assert_close(gradient[i], expected, rtol=1e-10, atol=1e-10)


def test_an_exception_of_the_loss_comes_back(network, data):
    def loss(output, target):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        gradwise.per_sample_norms(network(), loss, *data)


def test_batch_norm_in_training_is_refused(data):
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    before = model[1].running_mean.clone()
    with pytest.raises(ValueError, match="batch norm in training mode joins the samples"):
        gradwise.per_sample_norms(model, functional.cross_entropy, *data)
    assert torch.equal(model[1].running_mean, before)


def test_the_losses_of_a_batch_are_taken_at_once():
    """torch warns, once in a process, where an operator has no batching rule and is called for each sample."""
    program = (
        "import torch, gradwise; "
        "gradwise.per_sample_norms(torch.nn.Linear(4, 3), torch.nn.CrossEntropyLoss(), torch.randn(8, 4), "
        "torch.zeros(8).long())"
    )
    path = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0 and "performance drop" not in done.stderr, done.stderr


def test_what_is_no_tensor_is_named(network, data):
    with pytest.raises(TypeError, match="input_data is a list"):
        gradwise.per_sample_norms(network(), functional.cross_entropy, [1.0], data[1])


class Centred(nn.Module):
    """Takes the batch's mean away, of hidden units or of the input, in training mode."""

    def __init__(self, of_hidden):
        super().__init__()
        self.first, self.head = nn.Linear(4, 4), nn.Linear(4, 3)
        self.of_hidden = of_hidden

    def forward(self, x):
        x = x - x.mean(0) if self.training and not self.of_hidden else x
        h = torch.tanh(self.first(x))
        return self.head(h - h.mean(0) if self.training and self.of_hidden else h)


@pytest.mark.parametrize("of_hidden", [True, False])
def test_a_model_that_mixes_its_samples_in_another_mode(of_hidden):
    torch.manual_seed(2)
    model = Centred(of_hidden).double().eval()
    x, y = torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 2, 1, 1, 0])
    per_sample = gradwise.PerSampleGradients(model, functional.cross_entropy)
    per_sample.gradients(x, y)
    assert per_sample.loop_reason == ""
    model.train()
    found = per_sample.gradients(x, y)
    assert per_sample.loop_reason != ""
    assert_equal(found, by_loop(model, functional.cross_entropy, x, y))


class Exponential(nn.Module):
    """A weight that is no layer's own, so that there is no rule for it."""

    def __init__(self, reads):
        super().__init__()
        self.first, self.logarithm = nn.Linear(4, 4), nn.Parameter(torch.randn(3, 4))
        self.reads, self.calls = reads, 0

    def forward(self, x):
        self.calls += 1
        if self.reads:
            float(x.sum())
        return functional.linear(torch.tanh(self.first(x)), self.logarithm.exp())


@pytest.mark.parametrize("reads", [False, True])
def test_vmap_goes_over_the_samples_where_there_is_no_rule(reads):
    torch.manual_seed(2)
    model = Exponential(reads).double()
    x, y = torch.randn(12, 4, dtype=torch.float64), torch.randint(0, 3, (12,))
    expected = by_loop(model, functional.cross_entropy, x, y)
    per_sample = gradwise.PerSampleGradients(model, functional.cross_entropy)
    model.calls = 0
    assert_equal(per_sample.gradients(x, y), expected)
    said = "each takes a pass of its own, for vmap fails: " if reads else "vmap goes over the samples"
    assert said in per_sample.loop_reason and "there is no rule for" in per_sample.loop_reason
    assert model.calls == (14 if reads else 2), "one over the batch, and one of vmap"
    clipped = per_sample.clipped_gradient(x, y, max_norm=0.1)
    squares = sum(gradient.flatten(1).square().sum(1) for gradient in expected.values())
    torch.testing.assert_close(clipped.norms, squares.sqrt())
    weights = (0.1 / (squares.sqrt() + 1e-6)).clamp(max=1)
    assert_equal(clipped.gradient, {name: torch.tensordot(weights, g, 1) for name, g in expected.items()})
    assert said in per_sample.loop_reason
    assert all(parameter.grad is None for parameter in model.parameters())


class CentredAlong(nn.Module):
    """As many units as samples, so that both means have the same graph but for a dimension."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 5)
        self.dimension = 1

    def forward(self, x):
        h = self.first(x).tanh()
        return h - h.mean(self.dimension, keepdim=True)


def test_a_mean_over_samples_after_one_over_units():
    torch.manual_seed(2)
    model = CentredAlong().double()
    x, y = torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 2, 1, 1, 0])
    per_sample = gradwise.PerSampleGradients(model, functional.cross_entropy)
    per_sample.gradients(x, y)
    assert per_sample.loop_reason == ""
    model.dimension = 0
    assert_equal(per_sample.gradients(x, y), by_loop(model, functional.cross_entropy, x, y))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_squares_and_products_under_autocast_have_the_parameters_type(dtype):
    torch.manual_seed(2)
    model, x, y = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)), torch.randn(6, 4), torch.randn(6, 3)
    per_sample = gradwise.PerSampleGradients(model, lambda o, t: 1e-4 * functional.mse_loss(o.float(), t))
    with torch.autocast("cpu", dtype):
        gradients = {name: g.clone() for name, g in per_sample.gradients(x, y).items()}
        moments = per_sample.moments(x, y)
        products = per_sample.inner_products(x, y)
    for name, gradient in gradients.items():
        expected = gradient.square().mean(0)
        torch.testing.assert_close(moments.second_moment[name], expected, rtol=2e-2, atol=1e-2 * float(expected.max()))
    rows = torch.cat([g.flatten(1) for g in gradients.values()], 1)
    expected = rows @ rows.T
    assert products.dtype == torch.float32
    torch.testing.assert_close(products, expected, rtol=2e-2, atol=1e-2 * float(expected.max()))


def test_a_target_has_as_many_rows_as_the_input(network, data):
    x, y = data
    for rows in (1, 3):
        with pytest.raises(ValueError, match=rf"the target has the shape \[60\] for {rows} samples"):
            gradwise.per_sample_gradients(network(), functional.cross_entropy, x[:rows], y)


def test_complex_parameters_are_refused():
    model = nn.Linear(4, 3, dtype=torch.complex64)
    with pytest.raises(ValueError, match="weight is ComplexFloat, allowed: real numbers"):
        gradwise.PerSampleGradients(model, functional.mse_loss)


def test_ctrl_c_in_the_loss_ends_the_call(network, data):
    calls = []

    def loss(output, target):
        calls.append(output)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gradwise.per_sample_norms(network(), loss, *data)
    assert len(calls) == 1


def test_a_mistake_in_one_batch_does_not_slow_the_next_ones(network, data):
    calls = []

    def loss(output, target):
        calls.append(output)
        return functional.mse_loss(output, target)

    per_sample = gradwise.PerSampleGradients(network(), loss)
    with pytest.raises(RuntimeError, match="must match"):
        per_sample.gradients(data[0], torch.zeros(60, 7))
    calls.clear()
    per_sample.gradients(data[0], torch.zeros(60, 3))
    per_sample.gradients(data[0], torch.zeros(60, 3))
    assert len(calls) == 3  # of them one for the comparison with a single sample
