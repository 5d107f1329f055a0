"""Curvature over data sets against dense matrices of torch.func."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import gradwise
from gradwise.curvature import EmpiricalFisher, Fisher, GaussNewton, GradientCovariance, Hessian


class Case:
    """A network, its data in three ragged batches, and its loss as a function of one vector."""

    def __init__(self, network, data):
        self.model = network(dtype=torch.float64)
        self.model[1] = nn.Tanh()
        self.x, self.y = data[0].double(), data[1]
        self.batches = [(self.x[i : i + 25], self.y[i : i + 25]) for i in range(0, 60, 25)]
        self.names = [name for name, _ in self.model.named_parameters()]
        self.flat = torch.cat([p.detach().reshape(-1) for p in self.model.parameters()])

    def outputs(self, vector, x):
        weights, start = {}, 0
        for name, p in self.model.named_parameters():
            weights[name] = vector[start : start + p.numel()].reshape(p.shape)
            start += p.numel()
        return torch.func.functional_call(self.model, weights, (x,))

    def loss(self, vector, x=None, y=None):
        x, y = (self.x, self.y) if x is None else (x, y)
        return functional.cross_entropy(self.outputs(vector, x), y)

    def hessian(self):
        return torch.func.hessian(self.loss)(self.flat)

    def gauss_newton(self):
        jacobian = torch.func.jacrev(self.outputs)(self.flat, self.x).reshape(180, -1)
        outputs = self.outputs(self.flat, self.x)
        inner = torch.func.hessian(lambda z: functional.cross_entropy(z, self.y))(outputs).reshape(180, 180)
        return jacobian.T @ inner @ jacobian

    def gradients(self):
        return torch.stack(
            [torch.func.grad(self.loss)(self.flat, self.x[i : i + 1], self.y[i : i + 1]) for i in range(60)]
        )


@pytest.fixture
def case(network, data):
    return Case(network, data)


def dense(matrix):
    return matrix @ torch.eye(matrix.shape[0], dtype=torch.float64)


def test_operators_equal_dense_matrices_over_ragged_batches(case):
    gradients = case.gradients()
    second = gradients.T @ gradients / 60
    mean = gradients.mean(0)
    expected = {
        Hessian: case.hessian(),
        GaussNewton: case.gauss_newton(),
        EmpiricalFisher: second,
        GradientCovariance: second - torch.outer(mean, mean),
        Fisher: case.gauss_newton(),
    }
    for operator, matrix in expected.items():
        for data in (case.batches, (case.x, case.y)):
            found = operator(case.model, functional.cross_entropy, data)
            torch.testing.assert_close(dense(found), matrix, rtol=1e-9, atol=1e-12, msg=operator.__name__)
            assert found.samples == 60
    torch.testing.assert_close(GradientCovariance(case.model, functional.cross_entropy, case.batches).gradient, mean)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(case.x, case.y), batch_size=7)
    torch.testing.assert_close(dense(Hessian(case.model, functional.cross_entropy, loader)), expected[Hessian])


def test_parts_blocks_damping_and_memory(case):
    whole = case.hessian()
    n = len(whole)

    def make(**options):
        return Hessian(case.model, functional.cross_entropy, case.batches, **options)

    last = make(parameters=["2.*"])
    assert last.parameter_names == ["2.weight", "2.bias"]
    torch.testing.assert_close(dense(last), whole[40:, 40:])
    blocks = torch.block_diag(whole[:40, :40], whole[40:, 40:])
    eye = torch.eye(n, dtype=torch.float64)
    torch.testing.assert_close(dense(make(block="layer", damping=0.5)), blocks + 0.5 * eye)
    blocks = torch.block_diag(*[whole[i:j, i:j] for i, j in ((0, 32), (32, 40), (40, 64), (64, 67))])
    torch.testing.assert_close(dense(make(block="parameter")), blocks)
    told = []
    rebuilt = make(memory_bound=1, progress=lambda done, total: told.append((done, total)))
    assert rebuilt.kept_batches == 0 and make(memory_bound=0).kept_batches == 3
    assert told == [(1, 3), (2, 3), (3, 3)]
    torch.testing.assert_close(dense(rebuilt), whole)
    assert told[3:] == [(1, 3), (2, 3), (3, 3)]
    torch.testing.assert_close(rebuilt.gradient, torch.func.grad(case.loss)(case.flat))


def test_trace_by_layers(case):
    hessian = Hessian(case.model, functional.cross_entropy, case.batches)
    exact = float(case.hessian().trace())
    found = hessian.trace(products=400, method="layers")
    assert found.products == found.samples == 400
    assert abs(found.value - exact) < 5 * found.standard_error
    assert found.standard_error < 0.7 * hessian.trace(products=400, method="hutchinson").standard_error
    within = hessian.trace(tol=0.05, method="layers")
    assert within.converged and within.high - within.value <= 0.05 * abs(within.value)
    with pytest.raises(ValueError, match="allowed with block or damping: the other methods"):
        Hessian(case.model, functional.cross_entropy, case.batches, damping=1.0).trace(method="layers")
    with pytest.raises(ValueError, match="method is .layers., allowed: hutchinson"):
        GaussNewton(case.model, functional.cross_entropy, case.batches).trace(method="layers")
    images, filters = torch.randn(20, 1, 5, 5), nn.Sequential(nn.Conv2d(1, 3, 5), nn.Flatten())
    with pytest.raises(ValueError, match="0.weight goes into an operator that is not one for each sample"):
        Hessian(filters, functional.cross_entropy, (images, case.y[:20])).trace(method="layers")


def test_drawn_fisher_tends_to_the_exact_one_and_follows_its_seed(case):
    exact = case.gauss_newton()

    def drawn(**options):
        return dense(Fisher(case.model, nn.CrossEntropyLoss(), case.batches, type="monte_carlo", **options))

    found = drawn(draws=500, seed=1)
    assert float((found - exact).norm() / exact.norm()) < 0.1
    assert torch.equal(found, drawn(draws=500, seed=1)) and not torch.equal(found, drawn(draws=500, seed=2))


def test_dropout_is_refused_with_the_way_out(case):
    model = nn.Sequential(case.model, nn.Dropout(0.5))
    with pytest.raises(ValueError, match=r"the loss is not deterministic.*model\.eval\(\)"):
        Hessian(model, functional.cross_entropy, case.batches)
    normed = nn.Sequential(case.model, nn.BatchNorm1d(3).double())
    with pytest.raises(ValueError, match=r"batch norm in training mode \(1\)"):
        Hessian(normed, functional.cross_entropy, case.batches)
    assert float(normed[1].running_mean.abs().max()) == 0
    Hessian(normed.eval(), functional.cross_entropy, case.batches)
    Hessian(model.eval(), functional.cross_entropy, case.batches)
    model.train()
    for make in (Hessian, GaussNewton, EmpiricalFisher):
        with pytest.raises(ValueError, match=r"the loss is not deterministic.*model\.eval\(\)"):
            make(model, functional.cross_entropy, (case.x, case.y))
    with pytest.raises(ValueError, match=r"the model is not deterministic.*model\.eval\(\)"):
        Fisher(model, functional.cross_entropy, (case.x, case.y))
    Hessian(model, functional.cross_entropy, (case.x, case.y), check_deterministic=False)  # one graph, one set of masks


def test_losses_that_are_no_mean_over_samples_are_refused_with_the_way_out(case):
    def log_of_mean(outputs, y):
        return functional.cross_entropy(outputs, y).log()

    def summed(outputs, y):
        return functional.cross_entropy(outputs, y, reduction="sum")

    with pytest.raises(ValueError, match="no mean over samples.*over their halves.*check_deterministic to false"):
        Hessian(case.model, log_of_mean, case.batches)
    with pytest.raises(ValueError, match="no mean over samples.*set reduction to sum"):
        GaussNewton(case.model, summed, case.batches)
    Hessian(case.model, log_of_mean, case.batches, check_deterministic=False)
    Hessian(case.model, summed, case.batches, reduction="sum")
    whole = dense(Hessian(case.model, log_of_mean, (case.x, case.y)))  # nothing is added up
    expected = torch.func.hessian(lambda v: case.loss(v).log())(case.flat)
    torch.testing.assert_close(whole, expected, rtol=1e-9, atol=1e-12)


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return 2 * ctx.saved_tensors[0] * gradient


def test_bad_calls(case):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = case.model

        def forward(self, x):
            return Once.apply(self.inner(x))

    loss = functional.cross_entropy
    calls = [
        (lambda: Hessian(case.model, loss, []), ValueError, "the data set has no mini-batch"),
        (lambda: Hessian(case.model, loss, [(case.x[:0], case.y[:0])]), ValueError, "mini-batch 0 of 1 is empty"),
        (lambda: Hessian(case.model, loss, 3), TypeError, "data is a int, allowed: a batch"),
        (lambda: Hessian(case.model, loss, case.batches, parameters="2.*"), TypeError, "parameters is '2"),
        (lambda: Hessian(case.model, loss, case.batches, parameters=["3.*"]), ValueError, "name matches"),
        (lambda: Hessian(case.model, loss, case.batches, block="row"), ValueError, "block is .row., allowed: layer"),
        (lambda: Hessian(case.model, loss, case.batches, damping=-1.0), ValueError, "damping is -1, allowed: >= 0"),
        (lambda: Hessian(case.model, loss, case.batches, memory=3), TypeError,
         "there is no option memory, allowed: parameters, reduction, memory_bound, check_deterministic$"),
        (lambda: Hessian(case.model, loss, case.batches, progress=3), TypeError, "progress is 3"),
        (lambda: Fisher(case.model, functional.l1_loss, case.batches), ValueError, "allowed: cross_entropy"),
        (lambda: Fisher(case.model, nn.MSELoss(reduction="sum"), case.batches), ValueError, "a plain MSELoss"),
        (lambda: Fisher(case.model, "huber", case.batches), ValueError, "stands for no distribution"),
        (
            lambda: Hessian(Net(), loss, case.batches) @ torch.ones(67, dtype=torch.float64),
            ValueError,
            r"^\[hessian\] an operator can't be differentiated as often as this takes: OnceBackward .*@once",
        ),
        (lambda: Hessian(case.model, loss, case.batches) @ torch.ones(67), ValueError, "the vector is Float"),
    ]
    for call, kind, message in calls:
        with pytest.raises(kind, match=message):
            call()
    with pytest.raises(gradwise.GradwiseError, match="is not finite"):
        GaussNewton(case.model, lambda o, y: o.square().sum() * float("nan"), case.batches) @ torch.ones(
            67, dtype=torch.float64
        )


def test_a_frozen_weight_that_a_graph_is_recorded_anew_from_must_stay(case):
    case.model[0].weight.requires_grad_(False)
    anew = Hessian(case.model, functional.cross_entropy, case.batches, memory_bound=1)
    assert anew.kept_batches < len(case.batches)
    vector = torch.ones(anew.shape[0], dtype=torch.float64)
    anew @ vector
    with torch.no_grad():
        case.model[0].weight.add_(1)
    with pytest.raises(ValueError, match="the parameter 0.weight was written to since the operator was made"):
        anew @ vector


def test_the_tolerance_is_the_first_argument():
    matrix = gradwise.curvature.from_matrix(torch.diag(torch.arange(1.0, 41.0, dtype=torch.float64)))
    for found in (matrix.trace(0.05), matrix.frobenius_norm(0.05), matrix.diagonal(0.05)):
        assert found.converged and found.products > 0
    assert matrix.top_eigenvalues(2, 1e-6).eigenvalues == pytest.approx([40, 39], rel=1e-5)
    assert matrix.spectral_density(10, 3).products == 30
