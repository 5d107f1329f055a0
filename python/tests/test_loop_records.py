"""A loop's progress, and the run that it puts on record."""

import pytest
import torch
from torch.nn import functional

import gradwise
from gradwise.autograd_utils import AutogradOptimizer, AutogradTrainingLoop


def batches(x, y, size=20):
    return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]


def test_a_loop_puts_itself_on_record_and_trains_as_without(network, data, tmp_path, capfd):
    options = {"epochs": 3, "metrics": ["accuracy"]}
    plain, told = network(), network()
    expected = AutogradTrainingLoop(plain, options=options).fit(
        batches(*data), functional.cross_entropy, validation=batches(*data)
    )
    assert capfd.readouterr().err == ""
    loop = AutogradTrainingLoop(told, options=options, run=tmp_path / "run", progress=True)
    result = loop.fit(batches(*data), functional.cross_entropy, validation=batches(*data))
    shown = capfd.readouterr().err
    assert "Sequential" in shown and "epoch 3/3  train loss" in shown and "validation loss" in shown
    for a, b in zip(plain.parameters(), told.parameters(), strict=True):
        assert torch.equal(a, b)
    run = gradwise.load_run(tmp_path / "run")
    assert run.status == "finished" and run.name == "run"
    losses = [loss for epoch in result.history for loss in epoch.losses]
    assert [row.loss for row in run.steps()] == losses
    assert losses == [loss for epoch in expected.history for loss in epoch.losses]
    assert len(run.epochs()) == 3 and {row.metric for row in run.validations()} == {"loss", "accuracy"}
    assert {row.parameter for row in run.readings()} == {name for name, _ in told.named_parameters()}
    with pytest.raises(RuntimeError, match="run"):
        AutogradTrainingLoop(network(), run=tmp_path / "run")


def test_epochs_of_ones_own_are_on_record_too(network, data, tmp_path, capfd):
    loop = AutogradTrainingLoop(network(), run=tmp_path / "run", progress=True)
    for _ in range(2):
        loop.train_epoch(batches(*data), functional.cross_entropy)
    del loop
    assert "epoch 2  train loss" in capfd.readouterr().err
    run = gradwise.load_run(tmp_path / "run")
    assert run.status == "finished" and len(run.epochs()) == 2
    broken = AutogradTrainingLoop(network(), run=tmp_path / "broken")
    with pytest.raises(KeyError):
        broken.train_epoch(batches(*data), lambda output, target: {}["mine"])
    assert gradwise.load_run(tmp_path / "broken").status == "failed"
    stopped = AutogradTrainingLoop(network(), run=tmp_path / "stopped")

    def interrupted(output, target):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped.train_epoch(batches(*data), interrupted)
    assert gradwise.load_run(tmp_path / "stopped").status == "interrupted"


def test_a_watch_says_how_to_watch_a_loop(network):
    model = network()
    ways = (AutogradTrainingLoop(model), "give the loop `run=`"), (AutogradOptimizer(model), "to watch")
    for made, way_out in ways:
        with pytest.raises(TypeError, match=f"optimizer is a {type(made).__name__}, allowed: .*{way_out}"):
            gradwise.watch(model, made)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loop = AutogradTrainingLoop(model, optimizer)
    with gradwise.watch(model, optimizer) as watch:
        loop.train_epoch([(torch.randn(5, 4), torch.zeros(5).long())] * 4, functional.cross_entropy)
    assert watch.steps == 4 and set(watch.readings()) == {name for name, _ in model.named_parameters()}


WRONG_CALLS = {
    "an unknown device": ({"device": "gpu"}, ValueError, "device is 'gpu', allowed: cpu.*which are there"),
    "a device without data": ({"device": "meta"}, ValueError, "device is 'meta', allowed: cpu"),
    "one too many": ({"device": "cuda:64"}, ValueError, "device is 'cuda:64', allowed: cpu"),
    "torch's own": ({"device": torch.device("cuda", 64)}, ValueError, "device is 'cuda:64', allowed: cpu"),
    "no device": ({"device": 1.5}, TypeError, "device is 1.5, allowed: a str or a torch.device"),
    "a norm": ({"max_grad_norm": -1.0}, ValueError, "max_grad_norm is -1"),
    "a loader": ({"dataloader": 3}, TypeError, "the data loader is a int"),
    "a loss": ({"loss_function": 3}, TypeError, "loss_function is a int"),
}


@pytest.mark.parametrize("case", WRONG_CALLS)
def test_a_wrong_call_leaves_a_finished_run_as_it_is(network, data, tmp_path, case):
    wrong, error, message = WRONG_CALLS[case]
    loop = AutogradTrainingLoop(network(), options={"epochs": 1}, run=tmp_path / "run")
    loop.fit(batches(*data), functional.cross_entropy)
    right = {"dataloader": batches(*data), "loss_function": functional.cross_entropy}
    with pytest.raises(error, match=message):
        loop.train_epoch(**(right | wrong))
    assert gradwise.load_run(tmp_path / "run").status == "finished"
    loop.train_epoch(**right)  # and the loop trains on


@pytest.mark.skipif(torch.accelerator.is_available(), reason="the accelerator is there")
def test_a_device_that_is_not_there_is_refused_by_name(network, data):
    loop = AutogradTrainingLoop(network())
    uses = {
        "train_epoch": lambda: loop.train_epoch(batches(*data), functional.cross_entropy, device="cuda"),
        "validate": lambda: loop.validate(batches(*data), functional.cross_entropy, device="cuda"),
        "fit": lambda: loop.fit(batches(*data), functional.cross_entropy, device="cuda"),
        "resume": lambda: loop.resume("nowhere", device="cuda"),
    }
    for use in uses.values():
        with pytest.raises(ValueError, match="device is 'cuda', allowed: cpu, which"):
            use()
