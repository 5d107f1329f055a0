"""What a watch and its steps are given: losses of every kind, memory of another shape, and what is refused."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import gradwise


def train(model, optimizer, data):
    optimizer.zero_grad()
    functional.cross_entropy(model(data[0]), data[1]).backward()
    optimizer.step()


LOSSES = {
    "none": None, "float": 0.5, "float64": np.float64(0.5), "int": 1, "scalar": torch.tensor(0.5),
    "one": torch.tensor([0.5]),
    "bfloat16": torch.tensor(0.5, dtype=torch.bfloat16), "whole": torch.tensor(3), "bool": torch.tensor(True),
    "nan": math.nan, "complex": torch.tensor(1j), "two": torch.ones(2), "text": "0.5",
    "meta": torch.ones((), device="meta"),
}  # fmt: skip


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_the_short_way_of_a_step_is_the_long_one(network, data, loss):
    def told(plain):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        watch = gradwise.watch(model, optimizer)
        seen = []
        for _ in range(3):
            train(model, optimizer, data)
            watch._plain = plain
            try:
                seen.append([dict(issue) for issue in watch.step(loss)])
            except (TypeError, ValueError) as error:
                seen.append(repr(error))
            watch._plain = True
        last = {key: value for key, value in watch.last_step.items() if key != "seconds"}
        return repr(seen), repr(last), repr(watch.issues)

    assert told(True) == told(False)


@pytest.mark.parametrize("told_every", [1, 3])
def test_the_loss_of_a_step_without_one_is_unknown(network, data, tmp_path, told_every):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    with gradwise.watch(model, optimizer, run=tmp_path / "run", record_every=20) as watch:
        for i in range(1, 41):
            train(model, optimizer, data)
            told = 2.0 / i if i % told_every == 0 else None
            assert watch.step(told) == []
            losses.append(math.nan if told is None else told)
            assert watch.last_step.loss == told and watch.last_step.step == i
    run = gradwise.load_run(tmp_path / "run")
    np.testing.assert_array_equal(run.steps().to_dict()["loss"], losses)
    assert {reading.step for reading in run.readings()} == {1, 20, 40}, "an unknown loss is no reason to put more there"


def test_a_loss_that_breaks_is_not_laid_at_the_first_layers_door(network, data):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = gradwise.watch(model, optimizer)
    for i in range(30):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(data[0]), data[1]) * (math.nan if i == 14 else 1)
        watch.observe(loss)
        loss.backward()
        optimizer.step()
        watch.step(loss)
    assert {issue.rule for issue in watch.issues} == {"nonfinite_loss", "nonfinite_gradient"}
    assert [(finding.layer, finding.step) for finding in watch.diagnosis()] == [("2.bias", 15)]


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_activations_of_the_step_that_breaks_are_read(data, micro_batches):
    class Root(nn.Module):
        broken = False

        def forward(self, x):
            return (x - 1e9 if self.broken else x + 1e9).sqrt()

    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), Root(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-12)
    watch = gradwise.watch(model, optimizer)
    for i in range(12):
        optimizer.zero_grad()
        for part in range(micro_batches):
            model[2].broken = i == 9 and part == micro_batches - 1  # a step that is read anyway
            loss = functional.cross_entropy(model(data[0]), data[1])
            watch.observe(loss)
            loss.backward()
        optimizer.step()
        watch.step(loss)
    told = {(issue.rule, issue.layer, issue.step) for issue in watch.issues}
    assert ("nonfinite_activation", "3", 10) in told


def test_losses_may_be_told_before_the_optimizer_steps(network, data):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = gradwise.watch(model, optimizer)
    losses, seen = [], []
    for i in range(12):
        loss = functional.cross_entropy(model(data[0]), data[1])
        loss.backward()
        watch.step(loss)
        losses.append(loss.item())
        if i % 3 == 2:
            optimizer.step()
            optimizer.zero_grad()
            seen.append(watch.last_step.loss)
    means = [sum(losses[i : i + 3]) / 3 for i in range(0, 12, 3)]
    assert seen == pytest.approx(means, rel=1e-6) and watch.steps == 4


def test_samples_may_be_told_before_the_optimizer_steps(network, data):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = gradwise.watch(model, optimizer, forward_hook=False)
    for samples in (7, 8, 9):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(data[0]), data[1])
        loss.backward()
        watch.backward_end()
        watch.step(loss, samples=samples)
        optimizer.step()
        assert watch.last_step.samples == samples and watch.last_step.loss == pytest.approx(loss.item())


def test_the_last_loss_of_micro_batches_may_come_after_another_pass(network, data):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = gradwise.watch(model, optimizer)
    seen = []
    for i in range(12):
        functional.cross_entropy(model(data[0]), data[1]).backward()
        if i % 3 == 2:
            optimizer.step()
            optimizer.zero_grad()
            model(data[0]).sum().backward()
        watch.step(float(i))
        if i % 3 == 2:
            seen.append(watch.last_step.loss)
    assert seen == [1, 4, 7, 10]


def test_histograms_of_a_step_that_ends_late_are_its_own(network, data, tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with gradwise.watch(model, optimizer, run=tmp_path / "run", histograms_every=1, record_every=1):
        for i in range(3):
            optimizer.zero_grad()
            (functional.cross_entropy(model(data[0]), data[1]) * 10**i).backward()
            optimizer.step()
    rows = gradwise.load_run(tmp_path / "run").histograms()
    counts = {row.step: row.counts for row in rows if row.parameter == "0.weight"}
    peak = {step: max(range(len(c)), key=c.__getitem__) for step, c in counts.items()}
    assert peak[1] < peak[2] < peak[3]


def test_a_scaler_wants_losses_after_its_step(network, data):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    watch = gradwise.watch(model, optimizer, scaler=scaler)
    with pytest.warns(UserWarning, match=r"call it after scaler.update\(\)"):
        for _ in range(3):
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(data[0]), data[1])
            scaler.scale(loss).backward()
            watch.step(loss)
            scaler.step(optimizer)
            scaler.update()


def test_a_loss_may_be_told_when_other_networks_have_had_their_turn(network, data):
    """As in a loop over a GAN: the passes of one go through the other."""
    model, other = network(), network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = gradwise.watch(model, optimizer)
    for i in range(4):
        optimizer.zero_grad()
        functional.cross_entropy(model(data[0]), data[1]).backward()
        optimizer.step()
        (model(data[0]).sum() + other(data[0]).sum()).backward()
        watch.step(float(i))
        assert watch.last_step.loss == i and watch.steps == i + 1


def test_embeddings_are_no_layers_that_begin_too_wide():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(64, 32), nn.Flatten(1), nn.Linear(384, 64), nn.ReLU(), nn.Linear(64, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    watch = gradwise.watch(model, optimizer)
    for _ in range(100):
        tokens = torch.randint(0, 64, (32, 12))
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(tokens), (tokens[:, 0] > 31).long())
        loss.backward()
        optimizer.step()
        watch.step(loss)
    assert watch.diagnosis() == [] and "wide_initialization" not in {issue.rule for issue in watch.issues}


def test_a_watch_may_be_detached_within_a_closure(network, data):
    model = network()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)
    watch = gradwise.watch(model, optimizer)

    def closure():
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(data[0]), data[1])
        loss.backward()
        watch.detach()
        return loss

    optimizer.step(closure)
    assert watch.detached and watch.steps == 0


def test_a_watch_out_of_reach_can_be_ended(network, data, tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def fit():
        watch = gradwise.watch(model, optimizer, run=tmp_path / "run")
        train(model, optimizer, data)
        watch.step(1.0)

    fit()
    with pytest.raises(gradwise.GradwiseUsageError, match=r"call its detach\(\) or gradwise.unwatch\(model\) first"):
        gradwise.watch(model)
    gradwise.unwatch(model)
    gradwise.unwatch(model)
    assert gradwise.load_run(tmp_path / "run").status == "finished"
    gradwise.watch(model).detach()


@pytest.mark.parametrize("rows", [8, 2])
def test_a_layer_may_get_memory_of_another_shape(rows):
    model = nn.Linear(3, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = gradwise.watch(model, optimizer, gradients={"weights_every": 1})
    for step in range(6):
        if step == 2:
            model.weight.data = torch.randn(rows, 3)
            model.bias.data = torch.randn(rows)
        optimizer.zero_grad()
        loss = model(torch.randn(5, 3)).square().sum()
        loss.backward()
        before = model.weight.detach().clone()
        optimizer.step()
        watch.step(loss)
        del loss  # its graph knows the old shape
    reading = watch.readings()["weight"]
    assert reading.update_norm == pytest.approx(float((model.weight.detach() - before).norm()), rel=1e-5)
    assert reading.weight_norm == pytest.approx(float(model.weight.detach().norm()), rel=1e-5)


def test_a_watch_that_saw_no_step_says_so(network, data):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = gradwise.watch(model, optimizer)
    for _ in range(3):
        loss = functional.cross_entropy(model(data[0]), data[1])
        loss.backward()
        watch.step(loss)
    with pytest.warns(UserWarning, match="called 3 times, and the optimizer has not stepped"):
        assert watch.diagnosis() == []
    with pytest.raises(ValueError, match="samples is -1, allowed: 1"):
        watch.step(loss, samples=-1)


def test_a_run_is_a_path(network):
    model = network()
    with pytest.raises(TypeError, match="run is 3, allowed: a str or a path"):
        gradwise.watch(model, run=3)
    with pytest.raises(TypeError, match="path is 3, allowed: a str or a path"):
        gradwise.load_run(3)
    gradwise.watch(model).detach()


def test_policies_are_of_the_loop(network):
    model = network()
    with pytest.raises(ValueError, match="stop_on is .*the loop is yours"):
        gradwise.watch(model, torch.optim.SGD(model.parameters(), lr=0.1), stop_on=["nonfinite_gradient"])


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (lambda m, p: gradwise.watch(m, 5), TypeError, "optimizer is a int"),
        (lambda m, p: gradwise.watch(m, torch.optim.SGD([torch.zeros(2).requires_grad_()])), ValueError, "none of the"),
        (lambda m, p: gradwise.watch(m, []), ValueError, r"optimizer is \[\], allowed: an optimizer, several, or None"),
        (lambda m, p: gradwise.watch(m, gradients=1), TypeError, "gradients is 1, allowed: a dict"),
        (lambda m, p: gradwise.watch(m, enabled=False), ValueError, "enabled is False, allowed: True"),
        (lambda m, p: gradwise.watch(m, probe_every=5), ValueError, "probe_every is 5, allowed: nothing, for a watch"),
        (lambda m, p: gradwise.watch(m, run=""), ValueError, "run is '', allowed: a path"),
        (lambda m, p: gradwise.watch(m).detach("bogus"), ValueError, "status is 'bogus', allowed: finished, stopped, "),
        (lambda m, p: gradwise.watch(m, scaler=3), TypeError, "scaler is 3, allowed: torch.amp.GradScaler"),
        (lambda m, p: gradwise.watch(m).observe(m(torch.ones(1, 4))), ValueError, r"loss is of shape \(1, 3\)"),
        (lambda m, p: gradwise.watch(m).observe(torch.ones((), device="meta")), ValueError, "loss is on the device"),
        (lambda m, p: gradwise.watch(m, every=0), ValueError, "every is 0, allowed: >= 1"),
        (lambda m, p: gradwise.watch(m, evry=2), TypeError, 'there is no option evry; did you mean "every"'),
        (lambda m, p: gradwise.watch(m, foo=2), TypeError, "no option foo, allowed: every, .*gradients, "),
        (lambda m, p: gradwise.watch(m.requires_grad_(False)), ValueError, "none of the 4 parameters"),
        (lambda m, p: gradwise.watch(m, run=p), gradwise.GradwiseError, "holds a run already"),
        (lambda m, p: gradwise.load_run(p / "none"), gradwise.GradwiseError, "none"),
    ],
)
def test_bad_watches(network, tmp_path, call, kind, message):
    (tmp_path / "run.sqlite").write_text("not a database")
    with pytest.raises(kind, match=message):
        call(network(), tmp_path)
