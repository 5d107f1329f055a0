"""KFAC and EKFAC against explicit loops over samples, outputs and positions in PyTorch."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from gradwise.curvature import EKFAC, KFAC, EmpiricalFisher, Fisher


class Case:
    """A convolution and a linear layer in float64, their inputs and outputs caught by hooks."""

    def __init__(self):
        torch.manual_seed(3)
        self.model = nn.Sequential(
            nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(3 * 3 * 3, 4),
        ).double()
        self.x = torch.randn(7, 2, 5, 5, dtype=torch.float64)
        self.y = torch.randint(4, (7,))
        self.batches = [(self.x[i : i + 3], self.y[i : i + 3]) for i in range(0, 7, 3)]
        self.layers = [self.model[0], self.model[3]]

    def sample(self, n):
        """The output of a sample, and (input with a one below, output) of each layer."""
        caught = {}
        handles = [
            layer.register_forward_hook(lambda m, i, o: caught.__setitem__(m, (i[0].detach(), o)))
            for layer in self.layers
        ]
        output = self.model(self.x[n : n + 1])
        for handle in handles:
            handle.remove()
        conv = self.model[0]
        columns = functional.unfold(caught[conv][0], conv.kernel_size, conv.dilation, conv.padding, conv.stride)[0]
        inputs = [columns, caught[self.model[3]][0].T]
        inputs = [torch.cat([a, a.new_ones(1, a.shape[1])]) for a in inputs]
        return output[0], inputs, [caught[layer][1] for layer in self.layers]

    def vectors(self, output, type, n):
        p = output.detach().softmax(0)
        if type == "empirical":
            return [p - functional.one_hot(self.y[n], 4)]
        return [p[c].sqrt() * (torch.eye(4, dtype=torch.float64)[c] - p) for c in range(4)]

    def gradients(self, type):
        """(sample, vector, layer) to the gradient of the layer's output (out, positions), and its input."""
        for n in range(7):
            output, inputs, outputs = self.sample(n)
            for vector in self.vectors(output, type, n):
                found = torch.autograd.grad(output @ vector, outputs, retain_graph=True)
                for layer, (a, g) in enumerate(zip(inputs, found)):
                    yield n, layer, a, g.reshape(g.shape[1], -1)

    def factors(self, type):
        A, G, seen = [0, 0], [0, 0], set()
        for n, layer, a, g in self.gradients(type):
            if (n, layer) not in seen:
                seen.add((n, layer))
                A[layer] = A[layer] + a @ a.T / (7 * a.shape[1])
            G[layer] = G[layer] + g @ g.T / 7
        return A, G

    def corrected(self, type):
        A, G = self.factors(type)
        bases = [(torch.linalg.eigh(a)[1], torch.linalg.eigh(g)[1]) for a, g in zip(A, G)]
        values = [0, 0]
        for _, layer, a, g in self.gradients(type):
            in_basis, out_basis = bases[layer]
            values[layer] = values[layer] + (out_basis.T @ g @ a.T @ in_basis) ** 2 / 7
        return [
            torch.kron(u_g, u_a) @ torch.diag(v.flatten()) @ torch.kron(u_g, u_a).T
            for v, (u_a, u_g) in zip(values, bases)
        ]


def placed(blocks, sizes):
    """Blocks over matrices (out, in) with the bias as last column, as blocks over a weight and the bias behind it."""
    found = []
    for block, (out, inputs) in zip(blocks, sizes):
        rows = torch.arange(out * inputs).reshape(out, inputs)
        order = torch.cat([rows[:, :-1].flatten(), rows[:, -1]])
        found.append(block[order][:, order])
    return torch.block_diag(*found)


SIZES = [(3, 13), (4, 28)]


@pytest.fixture
def case():
    return Case()


def dense(matrix):
    return matrix @ torch.eye(matrix.shape[0], dtype=torch.float64)


@pytest.mark.parametrize("type", ["exact", "empirical"])
def test_factors_and_corrected_eigenvalues_equal_loops(case, type):
    A, G = case.factors(type)
    expected = placed([torch.kron(g, a) for a, g in zip(A, G)], SIZES)
    corrected = placed(case.corrected(type), SIZES)
    operator = EmpiricalFisher if type == "empirical" else Fisher
    exact = dense(operator(case.model, functional.cross_entropy, case.batches, block="layer"))
    for data in (case.batches, (case.x, case.y)):
        kfac = KFAC(case.model, functional.cross_entropy, data, type=type)
        torch.testing.assert_close(dense(kfac), expected, rtol=1e-9, atol=1e-12)
        for layer, a, g in zip(kfac.layers, A, G):
            torch.testing.assert_close(layer.input_factor[0], a)
            torch.testing.assert_close(layer.gradient_factor[0], g)
        ekfac = EKFAC(case.model, functional.cross_entropy, data, type=type)
        torch.testing.assert_close(dense(ekfac), corrected, rtol=1e-8, atol=1e-11)
    assert kfac.samples == 7 and [layer.name for layer in kfac.layers] == ["0.weight", "3.weight"]
    assert float((dense(ekfac) - exact).norm()) < float((dense(kfac) - exact).norm())
    assert ekfac.trace().value == pytest.approx(float(exact.trace()), rel=1e-10)


class Pooled(nn.Module):
    """Linear layers on the rows of a sequence, the mean over rows, and a head."""

    def __init__(self):
        super().__init__()
        self.rows, self.head = nn.Linear(3, 5), nn.Linear(5, 2)
        self.activation = nn.Tanh()

    def forward(self, x):
        self.hidden = self.rows(x)
        return self.head(self.activation(self.hidden).mean(1))


def test_reduced_factors_equal_a_loop():
    torch.manual_seed(4)
    model = Pooled().double()
    x = torch.randn(7, 4, 3, dtype=torch.float64)
    A, G = 0, 0
    for n in range(7):
        output = model(x[n : n + 1])[0]
        a = torch.cat([x[n].mean(0), x.new_ones(1)])
        A = A + torch.outer(a, a) / 7
        for entry in output:  # of mse, with the factor 2 / (samples * outputs)
            (b,) = torch.autograd.grad(entry, model.hidden, retain_graph=True)
            G = G + torch.outer(b[0].sum(0), b[0].sum(0)) * 2 / 14
    found = KFAC(model, "mse", [(x[:3], x[:3]), (x[3:], x[3:])], weight_sharing="reduce").layers[0]
    torch.testing.assert_close(found.input_factor[0], A, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found.gradient_factor[0], G, rtol=1e-10, atol=1e-12)
    model.activation = nn.Identity()
    exact = dense(Fisher(model, "mse", (x, x), block="layer"))
    torch.testing.assert_close(dense(KFAC(model, "mse", (x, x), weight_sharing="reduce")), exact, rtol=1e-9, atol=1e-11)
    assert not torch.allclose(dense(KFAC(model, "mse", (x, x))), exact, rtol=1e-2)


def test_figures_are_those_of_the_dense_matrix(case):
    for matrix in (KFAC(case.model, "cross_entropy", case.batches), EKFAC(case.model, "cross_entropy", case.batches)):
        full = dense(matrix)
        damped = full + 0.1 * torch.eye(len(full), dtype=torch.float64)
        torch.testing.assert_close(matrix.eigenvalues(), torch.linalg.eigvalsh(full).flip(0), rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(dense(matrix.inverse(0.1)), torch.linalg.inv(damped), rtol=1e-9, atol=1e-10)
        assert matrix.trace().value == pytest.approx(float(full.trace()), rel=1e-10)
        assert matrix.frobenius_norm().value == pytest.approx(float(full.norm()), rel=1e-10)
        assert matrix.log_determinant(0.1).value == pytest.approx(float(torch.logdet(damped)), rel=1e-10)
        assert matrix.trace().standard_error == 0 and matrix.trace().converged
        assert matrix.top_eigenvalues().eigenvalues[0] == pytest.approx(float(matrix.eigenvalues()[0]), rel=1e-3)


def test_an_inverse_is_known_to_be_positive_definite(case):
    for matrix in (KFAC(case.model, "cross_entropy", case.batches), EKFAC(case.model, "cross_entropy", case.batches)):
        inverse = matrix.inverse(0.1)
        found, one_sided = inverse.trace(products=12), inverse.trace(products=12, method="xnystrace")
        assert found == one_sided and found != inverse.trace(products=12, method="xtrace")
        assert found.value == pytest.approx(float(dense(inverse).trace()), abs=5 * found.standard_error)


def test_factored_damping(case):
    kfac = KFAC(case.model, "cross_entropy", case.batches)
    blocks = []
    for layer in kfac.layers:
        a, g = layer.input_factor[0], layer.gradient_factor[0]
        pi = ((a.trace() / len(a)) / (g.trace() / len(g))).sqrt()
        a = a + pi * 0.1**0.5 * torch.eye(len(a), dtype=torch.float64)
        g = g + 0.1**0.5 / pi * torch.eye(len(g), dtype=torch.float64)
        blocks.append(torch.kron(torch.linalg.inv(g), torch.linalg.inv(a)))
    torch.testing.assert_close(dense(kfac.inverse(0.1, factored=True)), placed(blocks, SIZES), rtol=1e-9, atol=1e-10)


def test_drawn_factors_tend_to_the_exact_ones_and_follow_their_seed(case):
    exact = dense(KFAC(case.model, "cross_entropy", case.batches))

    def drawn(data, **options):
        return dense(KFAC(case.model, nn.CrossEntropyLoss(), data, type="monte_carlo", **options))

    found = drawn(case.batches, draws=2000, seed=1)
    assert float((found - exact).norm() / exact.norm()) < 0.1
    torch.testing.assert_close(found, drawn((case.x, case.y), draws=2000, seed=1), rtol=1e-9, atol=1e-12)
    assert not torch.equal(found, drawn(case.batches, draws=2000, seed=2))


def test_attention_and_norms():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).double()
    x = torch.randn(5, 3, 8, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"norm1\.weight is in no linear or convolution layer"):
        KFAC(layer, "mse", (x, x))
    found = EKFAC(layer, "mse", (x, x), unsupported="leave_out")
    assert found.left_out == ["norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"]
    weights = [p for name, p in layer.named_parameters() if "norm" not in name]
    trace = 0.0
    for entry in layer(x).flatten():  # each sample's outputs depend on that sample alone
        trace += sum(float(g.square().sum()) for g in torch.autograd.grad(entry, weights, retain_graph=True))
    assert found.trace().value == pytest.approx(2 * trace / x.numel(), rel=1e-9)


def test_bad_calls(case):
    loss = functional.cross_entropy
    calls = [
        (lambda: KFAC(case.model, "cross_entropy", case.batches, type="empirical"), TypeError, "allowed for type"),
        (lambda: KFAC(case.model, functional.l1_loss, case.batches), ValueError, "allowed: cross_entropy"),
        (lambda: KFAC(case.model, loss, case.batches, type="precise"), ValueError, "type .*, empirical"),
        (lambda: KFAC(case.model, loss, case.batches, parameters="0.*"), TypeError, "parameters is '0"),
        (lambda: KFAC(case.model, loss, case.batches, unsupported="drop"), ValueError, "unsupported is .drop."),
        (lambda: KFAC(case.model, loss, case.batches, weight_sharing="sum"), ValueError, "weight_sharing is .sum."),
        (lambda: KFAC(case.model, loss, []), ValueError, "the data set has no mini-batch"),
        (lambda: KFAC(case.model, loss, case.batches).inverse(-1.0), ValueError, "damping is -1, allowed: >= 0"),
        (lambda: EKFAC(case.model, loss, case.batches).inverse(0.1, factored=True), ValueError, "are no products"),
        (lambda: KFAC(nn.Sequential(case.model, nn.Dropout()), loss, case.batches), ValueError, "not deterministic"),
    ]
    for call, kind, message in calls:
        with pytest.raises(kind, match=message):
            call()
