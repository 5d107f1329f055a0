"""What a watch reads of each step, and that it leaves no trace."""

import copy
import gc
import math
import pathlib

import pytest
import torch
from torch import nn
from torch.nn import functional

import gradwise


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


def test_updates_without_an_optimizer_are_those_between_steps(network, data):
    model = network()
    watch = gradwise.watch(model)
    for _ in range(3):
        model.zero_grad()
        functional.cross_entropy(model(data[0]), data[1]).backward()
        before = model[0].weight.detach().clone()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.1 * parameter.grad
        watch.step()
        moved = float((model[0].weight.detach() - before).norm())
        assert watch.readings()["0.weight"].update_norm == pytest.approx(moved, rel=1e-3)


def test_a_step_tells_what_the_optimizer_has_measured(network, data):
    model = network()
    optimizer = gradwise.AdamW(model.parameters())
    watch = gradwise.watch(model, optimizer)
    train(model, optimizer, data, 2, watch)
    before = [p.detach().clone() for p in model.parameters()]
    train(model, optimizer, data, 1, watch)
    norm = sum(float(p.detach().square().sum()) for p in model.parameters()) ** 0.5
    moved = sum(float((p.detach() - b).square().sum()) for p, b in zip(model.parameters(), before, strict=True)) ** 0.5
    assert watch.last_step.param_norm == pytest.approx(norm, rel=1e-5)
    assert watch.last_step.update_norm == pytest.approx(moved, rel=1e-3)


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
    with pytest.raises(gradwise.GradwiseUsageError, match="the watch is detached"):
        watch.step()


FALSE_OF_FROZEN_ONES = {"missing_gradient", "frozen_layer"}
OPTIMIZERS = [torch.optim.AdamW, gradwise.AdamW]


@pytest.mark.parametrize("given", ["all", "trained"])
@pytest.mark.parametrize("optimizer_class", OPTIMIZERS)
def test_a_layer_that_is_unfrozen_is_read_from_then_on(network, data, optimizer_class, given, tmp_path):
    model = network()
    model[0].requires_grad_(False)
    optimizer = optimizer_class([p for p in model.parameters() if given == "all" or p.requires_grad])
    watch = gradwise.watch(model, optimizer, run=tmp_path / "run", gradients={"weights_every": 1}, record_every=1)
    train(model, optimizer, data, 40, watch)
    frozen = watch.readings()["0.weight"]
    assert not frozen.missing and math.isnan(frozen.grad_norm) and math.isnan(frozen.weight_norm)
    model[0].requires_grad_()
    if given == "trained":
        optimizer.add_param_group({"params": list(model[0].parameters())})
    for _ in range(40):
        before = model[0].weight.detach().clone()
        train(model, optimizer, data, 1, watch)
        reading = watch.readings()["0.weight"]
        assert reading.grad_norm == pytest.approx(float(model[0].weight.grad.norm()), rel=1e-5)
        assert reading.weight_norm == pytest.approx(float(model[0].weight.detach().norm()), rel=1e-5)
        assert reading.update_norm == pytest.approx(float((model[0].weight.detach() - before).norm()), rel=1e-3)
    assert not FALSE_OF_FROZEN_ONES & {issue.rule for issue in watch.issues}
    assert "frozen_layer" not in [finding.cause for finding in watch.diagnosis()]
    watch.detach()
    figures = [r.grad_norm for r in gradwise.load_run(tmp_path / "run").readings() if r.parameter == "0.weight"]
    assert len(figures) == 80 and all(math.isnan(f) == (step < 40) for step, f in enumerate(figures))


@pytest.mark.parametrize("optimizer_class", OPTIMIZERS)
def test_a_layer_that_is_frozen_in_mid_run_is_not_found_wanting(network, data, optimizer_class):
    model = network()
    optimizer = optimizer_class(model.parameters())
    watch = gradwise.watch(model, optimizer)
    train(model, optimizer, data, 20, watch)
    assert watch.readings()["0.weight"].grad_norm > 0
    model[0].requires_grad_(False)
    train(model, optimizer, data, 80, watch)
    reading = watch.readings()["0.weight"]
    assert not reading.missing and math.isnan(reading.grad_norm) and math.isnan(reading.update_norm)
    assert not FALSE_OF_FROZEN_ONES & {issue.rule for issue in watch.issues}
    assert "frozen_layer" not in [finding.cause for finding in watch.diagnosis()]


@pytest.mark.parametrize("optimizer_class", OPTIMIZERS)
def test_a_layer_that_is_unfrozen_and_never_trained_is_found(network, data, optimizer_class):
    model = network()
    model[0].requires_grad_(False)
    optimizer = optimizer_class(model[2].parameters(), lr=1e-4)
    watch = gradwise.watch(model, optimizer, gradients={"weights_every": 1})
    train(model, optimizer, data, 2, watch)
    model[0].requires_grad_()  # and not given to the optimizer
    train(model, optimizer, data, 60, watch)
    assert ("frozen_layer", "0.weight") in {(issue.rule, issue.layer) for issue in watch.issues}


def test_hooks_on_a_frozen_layer_keep_the_watchs(network, data):
    model = network()
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    watch = gradwise.watch(model, optimizer)
    model[0].requires_grad_()
    seen = []
    model[0].weight.register_post_accumulate_grad_hook(lambda p: seen.append(float(p.grad.norm())))
    train(model, optimizer, data, 1, watch)
    assert watch.readings()["0.weight"].grad_norm == pytest.approx(seen[0], rel=1e-5)


def test_a_hook_may_come_after_a_backward_without_one(network, data):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    watch = gradwise.watch(model, optimizer)
    train(model, optimizer, data, 1, watch)
    seen = []
    handle = model[0].weight.register_post_accumulate_grad_hook(lambda p: seen.append(float(p.grad.norm())))
    train(model, optimizer, data, 2, watch)
    handle.remove()
    train(model, optimizer, data, 1, watch)
    assert seen == [pytest.approx(watch.readings()["0.weight"].grad_norm, rel=1e-5)] * 2


@pytest.mark.parametrize("hooked", ["before", "after"])
def test_optimizers_may_step_within_backward(network, data, hooked):
    model = network()

    def take_steps():
        for p in model.parameters():
            optimizer = torch.optim.SGD([p], lr=0.0)

            def update(p, optimizer=optimizer):
                optimizer.step()
                optimizer.zero_grad()

            p.register_post_accumulate_grad_hook(update)

    if hooked == "before":
        take_steps()
    watch = gradwise.watch(model)
    if hooked == "after":
        take_steps()
    expected = torch.autograd.grad(functional.cross_entropy(model(data[0]), data[1]), list(model.parameters()))
    for _ in range(3):
        functional.cross_entropy(model(data[0]), data[1]).backward()
        watch.step()
    assert all(p.grad is None for p in model.parameters())
    norms = [reading.grad_norm for reading in watch.readings().values()]
    assert norms == pytest.approx([float(gradient.norm()) for gradient in expected], rel=1e-5)
    assert watch.last_step.grad_norm == pytest.approx(sum(norm**2 for norm in norms) ** 0.5, rel=1e-5)


def test_arguments_of_an_optimizers_step_may_be_a_list(network, data):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.register_step_pre_hook(lambda optimizer, args, kwargs: (list(args), kwargs))
    watch = gradwise.watch(model, optimizer)
    train(model, optimizer, data, 3, watch)
    assert watch.steps == 3 and watch.readings()["0.weight"].grad_norm > 0


def test_hooks_say_how_many_arguments_they_take(network):
    facts = gradwise._watched.facts_of(network(), None, None)
    before, _ = gradwise._core.Watching(network(), facts, {}, "").step_hooks()
    with pytest.raises(TypeError, match="2 arguments were given, allowed: 4"):
        before(1, 2)


def test_a_model_that_was_watched_runs_under_compiled_autograd(network, data):
    model, twin = network(), network()
    watch = gradwise.watch(model)
    with torch._dynamo.compiled_autograd._enable(torch.compile(backend="eager")):
        with pytest.raises(RuntimeError, match="compiled autograd runs this backward pass, allowed: autograd itself"):
            functional.cross_entropy(model(data[0]), data[1]).backward()
    watch.detach()
    seen = []
    model[0].weight.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.shape))
    with torch._dynamo.compiled_autograd._enable(torch.compile(backend="eager")):
        functional.cross_entropy(model(data[0]), data[1]).backward()
    functional.cross_entropy(twin(data[0]), data[1]).backward()
    assert seen == [model[0].weight.shape]
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(p.grad, q.grad)


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
