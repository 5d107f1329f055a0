"""Analyses and monitoring: norms, curvature, the edge of stability."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

import gradwise
from gradwise.gradient_analysis import GradientAnalysisConfig, GradientAnalyzer, GradientMonitoring


def test_analysis_is_right_and_leaves_no_trace(network, data, tmp_path):
    model = nn.Sequential(network(), nn.BatchNorm1d(3), nn.Dropout(0.5)).train()
    before = copy.deepcopy(model.state_dict())
    random = torch.get_rng_state()
    analyzer = GradientAnalyzer(GradientAnalysisConfig(compute_hessian=True))
    results = analyzer.analyze_gradients(model, functional.cross_entropy, *data)
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    functional.cross_entropy(model(data[0]), data[1]).backward()
    assert results.norm == pytest.approx(
        math.sqrt(sum(float(p.grad.norm()) ** 2 for p in model.parameters())), rel=1e-4
    )
    assert results["parameters"][0].name == "0.0.weight"
    assert isinstance(analyzer.detect_gradient_issues(results), list)
    assert analyzer.get_gradient_statistics().analyses == 1
    picture = tmp_path / "a.svg"
    analyzer.plot_gradient_analysis(save_path=picture)
    assert picture.read_text().startswith("<?xml")


def test_monitoring_tells_of_issues(data, tmp_path):
    model = nn.Sequential(*[part for _ in range(12) for part in (nn.Linear(4, 4), nn.Sigmoid())], nn.Linear(4, 3))
    monitoring = GradientMonitoring()
    result = monitoring.monitor_training_step(model, functional.cross_entropy, *data, step=7)
    assert result["step"] == 7
    assert any(issue.rule == "vanishing_flow" for issue in result["issues"])
    assert "step 7" in str(result["issues"][0])
    assert monitoring.get_monitoring_summary().steps_monitored == 1
    monitoring.save_monitoring_report(tmp_path / "report.txt")
    assert "vanishes" in (tmp_path / "report.txt").read_text()


@pytest.mark.parametrize(
    "options, kind, message",
    [
        ({"micro_batches": 1}, ValueError, "micro_batches is 1, allowed: >= 2"),
        ({"micro_batch": 4}, TypeError, 'did you mean "micro_batches"'),
        ({"compute_hessian": "yes"}, TypeError, "compute_hessian is 'yes', allowed: True or False"),
    ],
)
def test_bad_configurations(options, kind, message):
    with pytest.raises(kind, match=message):
        GradientAnalysisConfig(**options)


def train(model, optimizer, data, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        functional.cross_entropy(model(data[0]), data[1]).backward()
        optimizer.step()


def dense_hessian(model, x, y):
    names = [name for name, _ in model.named_parameters()]
    shapes = [p.shape for p in model.parameters()]
    flat = torch.cat([p.detach().reshape(-1) for p in model.parameters()])

    def loss(vector):
        parts = torch.split(vector, [s.numel() for s in shapes])
        weights = {n: p.reshape(s) for n, p, s in zip(names, parts, shapes, strict=True)}
        return functional.cross_entropy(torch.func.functional_call(model, weights, (x,)), y)

    return torch.func.hessian(loss)(flat)


def test_curvature_equals_the_dense_matrix(network, data):
    model = network(dtype=torch.float64)
    x, y = data[0].double(), data[1]
    dense = dense_hessian(model, x, y)
    hessian = gradwise.curvature.Hessian(model, functional.cross_entropy, (x, y))
    assert hessian.shape == dense.shape
    columns = torch.randn(len(dense), 3, dtype=torch.float64)
    torch.testing.assert_close(hessian @ columns, dense @ columns)
    torch.testing.assert_close(hessian @ columns[:, 0], dense @ columns[:, 0])
    exact = torch.linalg.eigvalsh(dense).flip(0)
    found = hessian.top_eigenvalues(3, tol=1e-8)
    assert found.eigenvalues == pytest.approx(exact[:3].tolist(), rel=1e-5)
    trace = hessian.trace(products=60)
    assert abs(trace.value - float(dense.trace())) < 6 * trace.standard_error + 1e-9
    spectrum = hessian.spectral_density()
    assert float(torch.trapezoid(spectrum.density, spectrum.eigenvalues)) == pytest.approx(1, abs=0.05)
    gauss_newton = gradwise.curvature.GaussNewton(model, functional.cross_entropy, (x, y))
    assert gauss_newton.top_eigenvalues(1).eigenvalues[0] > 0
    with pytest.raises(ValueError, match=r"the operand has shape \(5,\)"):
        hessian @ torch.zeros(5)


def blocks_of_layers(dense):
    """Of the two layers of `network`: rows of weight and bias together."""
    first = 4 * 8 + 8
    return dense[:first, :first], dense[first:, first:]


def test_an_analysis_knows_the_curvature_of_each_layer(network, data):
    model = network(dtype=torch.float64)
    x, y = data[0].double(), data[1]
    told = []
    analyzer = GradientAnalyzer(
        {"compute_hessian": True, "hessian_steps": 40, "trace_vectors": 100}, progress=lambda *now: told.append(now)
    )
    hessian = analyzer.analyze_gradients(model, functional.cross_entropy, x, y).hessian
    dense = dense_hessian(model, x, y)
    assert hessian.sharpness == pytest.approx(float(torch.linalg.eigvalsh(dense)[-1]), rel=1e-6)
    assert [layer.name for layer in hessian["layers"]] == ["0", "2"]
    for layer, block in zip(hessian["layers"], blocks_of_layers(dense), strict=True):
        assert layer.parameters == len(block)
        assert layer.largest == pytest.approx(float(torch.linalg.eigvalsh(block)[-1]), rel=2e-3)
        assert abs(layer.trace - float(block.trace())) < 5 * layer.trace_error + 1e-9
        assert 100 < layer.products <= 140
    assert 1 + 2 + 100 < hessian.products <= 1 + 2 * 40 + 100
    assert len(hessian.density) == len(hessian.density_errors)
    assert math.isnan(hessian.edge_of_stability.value)
    assert hessian.edge_of_stability.unknown == "no learning rate was given"
    assert ("trace", 100, 100) in told and told[-1][0] == "layers" and told[-1][1] == told[-1][2]


@pytest.mark.parametrize("optimizer_class", [torch.optim.SGD, gradwise.SGD])
def test_the_edge_of_stability_of_sgd(network, data, optimizer_class):
    model = network(dtype=torch.float64)
    x, y = data[0].double(), data[1]
    analyzer = GradientAnalyzer({"compute_hessian": True, "hessian_steps": 40, "hessian_layers": False})
    optimizer = optimizer_class(
        [{"params": model[0].parameters()}, {"params": model[2].parameters(), "lr": 0.02}], lr=0.1, momentum=0.9
    )
    found = analyzer.analyze_gradients(model, functional.cross_entropy, x, y, optimizer=optimizer)
    edge = found.hessian.edge_of_stability
    roots = torch.cat([torch.full((40,), 0.1), torch.full((27,), 0.02)]).double().sqrt()
    wanted = float(torch.linalg.eigvalsh(roots[:, None] * dense_hessian(model, x, y) * roots)[-1])
    assert edge.value == pytest.approx(wanted, rel=2e-3)
    assert (edge.learning_rate, edge.threshold) == pytest.approx((0.1, 3.8))


@pytest.mark.parametrize("optimizer_class", [torch.optim.Adam, torch.optim.AdamW, gradwise.AdamW])
def test_the_edge_of_stability_of_adam_is_that_of_the_preconditioned_hessian(network, data, optimizer_class):
    model = network(dtype=torch.float64)
    x, y = data[0].double(), data[1]
    optimizer = optimizer_class(model.parameters(), lr=0.01)
    analyzer = GradientAnalyzer({"compute_hessian": True, "hessian_steps": 67, "hessian_layers": False})

    def edge():
        seen = analyzer.analyze_gradients(model, functional.cross_entropy, x, y, optimizer=optimizer)
        return seen.hessian.edge_of_stability

    assert "no step yet" in edge().unknown and math.isnan(edge().value)
    train(model, optimizer, (x, y), 3)
    found = edge()
    squares = torch.cat([optimizer.state[p]["exp_avg_sq"].reshape(-1) for p in model.parameters()])
    preconditioner = (1 - 0.9**3) * ((squares / (1 - 0.999**3)).sqrt() + 1e-8)
    roots = (0.01 / preconditioner).sqrt()
    wanted = float(torch.linalg.eigvalsh(roots[:, None] * dense_hessian(model, x, y) * roots)[-1])
    assert found.value == pytest.approx(wanted, rel=2e-3)
    assert found.threshold == pytest.approx(38) and found.unknown == ""


def test_the_edge_of_stability_is_not_known_of_every_optimizer(network, data):
    model = network()
    analyzer = GradientAnalyzer({"compute_hessian": True, "hessian_layers": False})
    for optimizer, why in (
        (torch.optim.RMSprop(model.parameters()), "it is known for SGD, Adam and AdamW"),
        (torch.optim.SGD(model.parameters(), lr=0.1, maximize=True), "climbs the gradient"),
        (torch.optim.SGD(model.parameters(), lr=0.1, momentum=1.0), "of 1 and more do not settle"),
    ):
        seen = analyzer.analyze_gradients(model, functional.cross_entropy, *data, optimizer=optimizer)
        assert why in seen.hessian.edge_of_stability.unknown
    still = torch.optim.SGD(model.parameters(), lr=0.0)
    seen = analyzer.analyze_gradients(model, functional.cross_entropy, *data, optimizer=still)
    assert seen.hessian.edge_of_stability.value == 0
    with pytest.raises(TypeError, match="optimizer is a float, allowed: a torch.optim.Optimizer"):
        analyzer.analyze_gradients(model, functional.cross_entropy, *data, optimizer=0.1)
    with pytest.raises(ValueError, match="optimizer has no parameter of the model"):
        other = torch.optim.SGD(network().parameters(), lr=0.1)
        analyzer.analyze_gradients(model, functional.cross_entropy, *data, optimizer=other)
    with pytest.raises(TypeError, match="progress is 3, allowed: a callable"):
        GradientAnalyzer(progress=3)
