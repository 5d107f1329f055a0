"""`standardize_targets` of the training loop against a loop on targets that were scaled by hand."""

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

from gradwise.autograd_utils import AutogradTrainingLoop

X = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
ONE = 1000 + X @ torch.tensor([300.0, -40.0, 5.0])
TWO = torch.stack([ONE, 0.01 * X[:, 0]], 1)


def batches(y, start=0, stop=40):
    return [(X[i : i + 8], y[i : i + 8]) for i in range(start, stop, 8)]


def loop_of(columns, **options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, columns), nn.Flatten(0) if columns == 1 else nn.Identity())
    return AutogradTrainingLoop(model, torch.optim.SGD, lr=0.05, weight_decay=0.0, **options)


@pytest.mark.parametrize("y", [ONE, TWO], ids=["one column", "two columns"])
def test_the_loop_equals_one_on_scaled_targets(y):
    training = y[:32]
    mean, deviation = training.double().mean(0), training.double().std(0, unbiased=False)
    scaled = ((y.double() - mean) / deviation).float()
    ours = loop_of(y[0].numel(), options={"metrics": ["mae", "mse", "r2"]}, standardize_targets=training)
    theirs = loop_of(y[0].numel())
    for _ in range(3):
        losses = ours.train_epoch(batches(y, 0, 32), mse_loss).losses
        assert losses == pytest.approx(theirs.train_epoch(batches(scaled, 0, 32), mse_loss).losses, rel=1e-6)
    seen = ours.validate(batches(y, 32), mse_loss)
    assert seen.validation_loss == pytest.approx(
        theirs.validate(batches(scaled, 32), mse_loss).validation_loss, rel=1e-6
    )
    with torch.no_grad():
        predicted = theirs.model(X[32:]).double() * deviation + mean
    error = predicted - y[32:]
    assert seen.metrics.mae == pytest.approx(float(error.abs().mean()), rel=1e-5)
    assert seen.metrics.mse == pytest.approx(float(error.square().mean()), rel=1e-5)
    total = (y[32:].double() - y[32:].double().mean()).square().sum()
    assert seen.metrics.r2 == pytest.approx(1 - float(error.square().sum() / total), rel=1e-5)
    assert ours.target_scaling.mean == pytest.approx(mean.reshape(-1).tolist(), rel=1e-12)
    assert ours.target_scaling.stddev == pytest.approx(deviation.reshape(-1).tolist(), rel=1e-12)


def test_fit_scales_both_data_and_watches_the_metric_in_own_units():
    options = {"epochs": 5, "metrics": ["mae"], "monitor": "mae"}
    loop = loop_of(1, options=options, standardize_targets=ONE)
    result = loop.fit(batches(ONE), mse_loss, batches(ONE))
    assert result.history[-1].losses[0] < result.history[0].losses[0] < 10, "unscaled it would be above 1e5"
    assert result.best == pytest.approx(loop.validate(batches(ONE), mse_loss).metrics.mae, rel=1e-9)
    assert 1 < result.best < 300, "in scaled units it would be below 1"


def test_without_it_nothing_is_scaled():
    loop = loop_of(1)
    assert loop.target_scaling == {"mean": [], "stddev": []}
    assert loop.validate(batches(ONE), mse_loss).validation_loss > 1e5


@pytest.mark.parametrize(
    "targets, kind, message",
    [
        (True, TypeError, "standardize_targets is a bool, allowed: torch.Tensor"),
        (torch.arange(3), ValueError, "the targets are whole numbers"),
        (torch.ones(2, 2, 2), ValueError, r"the targets have shape \[2, 2, 2\]"),
    ],
)
def test_targets_that_cannot_be_scaled(targets, kind, message):
    with pytest.raises(kind, match=message):
        loop_of(1, standardize_targets=targets)


def test_batches_that_do_not_fit():
    loop = loop_of(1, standardize_targets=ONE)
    with pytest.raises(ValueError, match=r"the targets have shape \[8, 2\], allowed: 1 column"):
        loop.train_epoch(batches(TWO), mse_loss)
    with pytest.raises(ValueError, match="the targets are Long, allowed: floating point"):
        loop.validate(batches(ONE.long()), mse_loss)
