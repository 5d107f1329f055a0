import copy
import gc
import math
import pathlib

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
    edge = analyzer.analyze_gradients(model, functional.cross_entropy, x, y, optimizer=optimizer).hessian.edge_of_stability
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


# --- watch ---


def train(model, optimizer, data, steps, watch=None, loss_given=True):
    for _ in range(steps):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(data[0]), data[1])
        if watch is not None:
            watch.observe(loss)
        loss.backward()
        optimizer.step()
        if watch is not None and loss_given:
            watch.step(loss)


@pytest.mark.parametrize(("optimizer_class", "read_at"), [(torch.optim.AdamW, 10), (gradwise.AdamW, 11)])
def test_weights_are_read_each_step_where_that_is_free(network, data, optimizer_class, read_at):
    model = network()
    optimizer = optimizer_class(model.parameters())
    watch = gradwise.watch(model, optimizer)
    norms = {}
    for step in range(1, 12):
        train(model, optimizer, data, 1, watch)
        norms[step] = float(model[0].weight.detach().norm())
    assert watch.readings()["0.weight"].weight_norm == pytest.approx(norms[read_at], rel=1e-7)


@pytest.mark.parametrize("optimizer_class", [torch.optim.AdamW, gradwise.AdamW])
def test_watching_reads_and_changes_no_bit(network, data, optimizer_class):
    plain, watched = network(), network()
    train(plain, optimizer_class(plain.parameters()), data, 5)
    optimizer = optimizer_class(watched.parameters())
    watch = gradwise.watch(watched, optimizer, gradients={"weights_every": 1})
    train(watched, optimizer, data, 4, watch)
    before = watched[0].weight.detach().clone()
    train(watched, optimizer, data, 1, watch)
    for a, b in zip(plain.parameters(), watched.parameters(), strict=True):
        assert torch.equal(a, b)
    reading = watch.readings()["0.weight"]
    assert reading.grad_norm == pytest.approx(float(watched[0].weight.grad.norm()), rel=1e-5)
    assert reading.weight_norm == pytest.approx(float(watched[0].weight.detach().norm()), rel=1e-5)
    assert reading.update_norm == pytest.approx(float((watched[0].weight.detach() - before).norm()), rel=1e-3)
    assert watch.steps == 5 and watch.diagnosis() == []
    watch.detach()
    with pytest.raises(RuntimeError, match="the watch is detached"):
        watch.step()


def test_watching_needs_no_step_where_the_optimizer_is_given(network, data):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = gradwise.watch(model, optimizer)
    train(model, optimizer, data, 6, watch, loss_given=False)
    assert watch.readings()["2.bias"].update_norm > 0 and watch.steps == 6 and watch.issues == []


def test_a_sick_training_is_diagnosed_and_recorded(data, tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(*[part for _ in range(15) for part in (nn.Linear(4, 4), nn.Sigmoid())], nn.Linear(4, 3))
    optimizer = torch.optim.AdamW(model.parameters())
    with gradwise.watch(model, optimizer, run=tmp_path / "sick", record_every=5) as watch:
        train(model, optimizer, data, 60, watch)
        finding = watch.diagnosis()[0]
        assert finding.cause == "vanishing_gradient" and finding.evidence and finding.remedy
        assert gradwise.load_run(tmp_path / "sick").status == "running"
    run = gradwise.load_run(tmp_path / "sick")
    assert run.status == "finished" and len(run.steps()) == 60
    assert run.diagnosis()[0].cause == finding.cause
    assert run.readings()[0].parameter == "0.weight"
    assert run.steps().to_dict()["step"][-1] == 60 and run.issues
    assert list(pathlib.Path(tmp_path / "sick").glob("events.out.tfevents.*"))


def test_readings_are_unscaled_under_a_grad_scaler(network, data):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    watch = gradwise.watch(model, optimizer, scaler=scaler)
    for unscale in (False, True):
        optimizer.zero_grad()
        scaler.scale(functional.cross_entropy(model(data[0]), data[1])).backward()
        if unscale:
            scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        functional.cross_entropy(network()(data[0]), data[1])
        expected = torch.autograd.grad(functional.cross_entropy(model(data[0]), data[1]), model[0].weight)[0]
        assert watch.readings()["0.weight"].grad_norm == pytest.approx(float(expected.norm()), rel=1e-4), unscale


def test_a_step_that_the_scaler_skips_spoils_no_reading(network, data):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    watch = gradwise.watch(model, optimizer, scaler=scaler)
    for factor in (float("inf"), 1.0):
        optimizer.zero_grad()
        scaler.scale(functional.cross_entropy(model(data[0]), data[1]) * factor).backward()
        scaler.step(optimizer)
        scaler.update()
    expected = torch.autograd.grad(functional.cross_entropy(model(data[0]), data[1]), model[0].weight)[0]
    assert watch.readings()["0.weight"].grad_norm == pytest.approx(float(expected.norm()), rel=1e-4)
    watch.detach()
    assert watch.readings()["0.weight"].grad_norm > 0


def test_optimizers_that_take_turns_keep_in_step(network, data):
    model = network()
    first = torch.optim.SGD(model[0].parameters(), lr=0.1)
    second = torch.optim.SGD(model[2].parameters(), lr=0.1)
    watch = gradwise.watch(model, [first, second])
    for step in range(6):
        model.zero_grad()
        functional.cross_entropy(model(data[0]), data[1]).backward()
        first.step()
        if step % 2 == 0:
            second.step()
    watch.readings()
    assert watch.steps in (5, 6)
    watch.detach()
    optimizer = gradwise.AdamW(model.parameters())
    other = gradwise.watch(model, optimizer)
    train(model, optimizer, data, 2)
    optimizer.load_state_dict(optimizer.state_dict())  # another core before the step is finished
    train(model, optimizer, data, 2)
    assert other.readings()["0.weight"].update_norm > 0


def test_attaching_many_times_leaves_nothing(network, data):
    model = network()
    optimizer = torch.optim.AdamW(model.parameters())

    def rounds(count):
        for _ in range(count):
            watch = gradwise.watch(model, optimizer)
            watch.detach()
        gc.collect()
        return pathlib.Path("/proc/self/statm").read_text().split()[1]

    rounds(200)
    before = int(rounds(200))
    after = int(rounds(2000))
    assert after - before < 2000, f"{after - before} pages more"
    assert len(optimizer._optimizer_step_pre_hooks) == 0
    train(model, optimizer, data, 2)


def test_a_watched_model_can_go(network, data):
    model = network()
    optimizer = torch.optim.AdamW(model.parameters())
    watch = gradwise.watch(model, optimizer)
    train(model, optimizer, data, 2, watch)
    copied = copy.deepcopy(model)
    functional.cross_entropy(copied(data[0]), data[1]).backward()
    assert torch.equal(copied[0].weight, model[0].weight)
    del watch, model, optimizer
    gc.collect()


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (lambda m, p: gradwise.watch(m, 5), TypeError, "optimizer is a int"),
        (lambda m, p: gradwise.watch(m, torch.optim.SGD([torch.zeros(2, requires_grad=True)])), ValueError, "none of the"),
        (lambda m, p: gradwise.watch(m, every=0), ValueError, "every is 0, allowed: >= 1"),
        (lambda m, p: gradwise.watch(m, evry=2), TypeError, "there is no option evry"),
        (lambda m, p: gradwise.watch(m.requires_grad_(False)), ValueError, "none of the 4 parameters"),
        (lambda m, p: gradwise.watch(m, run=p), gradwise.GradwiseError, "holds a run already"),
        (lambda m, p: gradwise.load_run(p / "none"), gradwise.GradwiseError, "none"),
    ],
)
def test_bad_watches(network, tmp_path, call, kind, message):
    (tmp_path / "run.sqlite").write_text("not a database")
    with pytest.raises(kind, match=message):
        call(network(), tmp_path)
