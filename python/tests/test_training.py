import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from gradwise.autograd_utils import (
    AutogradHooks,
    AutogradOptimizer,
    AutogradTrainingLoop,
    CustomAutogradFunction,
    ExponentialMovingAverage,
)


def batches(x, y, size=20):
    return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]


def train_by_hand(model, optimizer, data, epochs=1, max_norm=1.0):
    losses = []
    for _ in range(epochs):
        for x, y in data:
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(x), y)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
            optimizer.step()
            losses.append(float(loss.detach()))
    return losses


class Plain(torch.optim.Optimizer):
    """An optimizer that the core does not know."""

    def __init__(self, params, lr=1e-3, weight_decay=0.0):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(p.grad + group["weight_decay"] * p, alpha=group["lr"])


@pytest.mark.parametrize(
    "optimizer_class, options",
    [
        (torch.optim.AdamW, {}),
        (torch.optim.Adam, {"amsgrad": True, "weight_decay": 0.1}),
        (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
        (torch.optim.RMSprop, {"centered": True, "momentum": 0.5}),
        (torch.optim.Adagrad, {"lr": 0.05}),
        (torch.optim.NAdam, {"lr": 0.01}),
        (Plain, {"lr": 0.1}),
    ],
)
def test_the_loop_equals_a_loop_by_hand(network, data, optimizer_class, options):
    given = {"lr": 1e-3, "weight_decay": 1e-2} | options
    ours, theirs = network(), network()
    loop = AutogradTrainingLoop(ours, optimizer_class, **given)
    stats = [loop.train_epoch(batches(*data), functional.cross_entropy, device="cpu") for _ in range(3)]
    expected = train_by_hand(theirs, optimizer_class(theirs.parameters(), **given), batches(*data), 3)
    assert [loss for epoch in stats for loss in epoch["losses"]] == pytest.approx(expected, rel=1e-4)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_step_stats_have_every_field(network, data):
    optimizer = AutogradOptimizer(network(), torch.optim.AdamW, lr=1e-2, weight_decay=0.1)
    stats = optimizer.step(nn.CrossEntropyLoss(), *data, clip_gradients=True, max_grad_norm=0.01)
    assert stats["clipped"] and stats.grad_norm > 0.01 and stats.grad_norm_clipped == pytest.approx(0.01, rel=1e-3)
    assert stats.lr == 1e-2 and stats.param_norm > 0 and 0 < stats.update_ratio < 1
    assert stats.issues == [] and stats.seconds.total > 0
    assert isinstance(stats.to_dict()["seconds"], dict) and "<table>" in stats._repr_html_()


def test_validation_gives_loss_and_metrics_and_leaves_the_mode(network, data):
    model = network()
    loop = AutogradTrainingLoop(model, options={"metrics": ["accuracy"]})
    model.train()
    seen = loop.validate(batches(*data), functional.cross_entropy)
    with torch.no_grad():
        expected = functional.cross_entropy(model(data[0]), data[1])
    assert seen["validation_loss"] == pytest.approx(float(expected), rel=1e-5)
    assert seen.metrics.accuracy == pytest.approx(float((model(data[0]).argmax(1) == data[1]).float().mean()))
    assert model.training


def test_resume_goes_on_to_the_same_bits(network, data, tmp_path):
    def loop_of(model, folder):
        return AutogradTrainingLoop(
            model, torch.optim.AdamW, lr=1e-2, options={"epochs": 4, "use_ema": True}, checkpoints=folder
        )

    straight = network()
    loop_of(straight, tmp_path / "a").fit(batches(*data), functional.cross_entropy)
    model = network()
    first = loop_of(model, tmp_path / "b")
    first.on("step_end", lambda told: "stop" if told.step == 5 else None)
    first.fit(batches(*data), functional.cross_entropy)
    assert first.steps == 5
    resumed = network(seed=9)
    again = loop_of(resumed, tmp_path / "c")
    again.resume(max((tmp_path / "b").glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1])))
    again.fit(batches(*data), functional.cross_entropy)
    for a, b in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_accumulation_equals_the_large_batch(network, data):
    large, small = network(), network()
    whole = AutogradOptimizer(large, torch.optim.SGD, lr=0.1)
    parts = AutogradOptimizer(small, torch.optim.SGD, lr=0.1)
    whole.step(functional.cross_entropy, *data)
    for x, y in batches(*data, size=25):  # the last one is shorter
        parts.accumulate(functional.cross_entropy, x, y, window=3)
    parts.finish_step()
    for a, b in zip(large.parameters(), small.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


# --- average ---


@pytest.mark.parametrize("use_num_updates", [True, False])
def test_ema_equals_torch_ema(network, use_num_updates):
    torch_ema = pytest.importorskip("torch_ema")
    model = network(dtype=torch.float64)
    ours = ExponentialMovingAverage(model.parameters(), decay=0.9, use_num_updates=use_num_updates)
    theirs = torch_ema.ExponentialMovingAverage(model.parameters(), decay=0.9, use_num_updates=use_num_updates)
    for step in range(10):
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.sin(p + step))
        ours.update()
        theirs.update()
    for a, b in zip(ours.shadow_params, theirs.shadow_params, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(RuntimeError, match="mine"), ours.average_parameters():
        torch.testing.assert_close(next(iter(model.parameters())), ours.shadow_params[0])
        raise RuntimeError("mine")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
    other = ExponentialMovingAverage(model.parameters(), decay=0.5)
    other.load_state_dict(theirs.state_dict())
    assert other.decay == 0.9 and torch.equal(other.shadow_params[0], theirs.shadow_params[0])
    third = torch_ema.ExponentialMovingAverage(model.parameters(), decay=0.5)
    state = ours.state_dict()
    third.load_state_dict(state)
    with pytest.raises(RuntimeError, match="no `store\\(\\)`ed weights"):
        ours.restore()


# --- functions, losses, gradients ---


# --- errors ---


def test_an_exception_in_a_callback_is_the_users_own(network, data):
    def broken(output, target):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        AutogradOptimizer(network()).step(broken, *data)
    assert caught.traceback[-1].name == "broken"

    def ends_early():
        yield data
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        AutogradTrainingLoop(network()).train_epoch(ends_early(), functional.cross_entropy)


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (lambda m, d: AutogradOptimizer(3), TypeError, "model is a int, allowed: torch.nn.Module"),
        (lambda m, d: AutogradOptimizer(m, momentum=1), TypeError, "AdamW has no option momentum"),
        (lambda m, d: AutogradOptimizer(m, lr=-1), ValueError, "lr is -1, allowed"),
        (lambda m, d: AutogradOptimizer(m, step_options={"precison": "x"}), TypeError, 'did you mean "precision"'),
        (lambda m, d: AutogradOptimizer(m, "adamw"), TypeError, "optimizer_class is 'adamw', allowed: a class"),
        (lambda m, d: AutogradOptimizer(m).step(functional.mse_loss, [1], d[1]), TypeError, "input_data is a list"),
        (lambda m, d: AutogradOptimizer(m).step(5, *d), TypeError, "loss_function is a int, allowed: a callable"),
        (lambda m, d: AutogradOptimizer(m).step(lambda o, t: o, *d), ValueError, "the loss has shape"),
        (lambda m, d: AutogradOptimizer(m).step(lambda o, t: 1.0, *d), ValueError, "the loss is a float"),
        (lambda m, d: AutogradTrainingLoop(m).train_epoch(7, None), TypeError, "the data loader is a int"),
        (lambda m, d: AutogradTrainingLoop(m).train_epoch([], functional.cross_entropy), ValueError, "has no batch"),
        (lambda m, d: AutogradTrainingLoop(m).train_epoch([1], functional.mse_loss), TypeError, "a batch is a int"),
        (lambda m, d: AutogradOptimizer(m, torch.optim.LBFGS, lr=0.1, weight_decay=5.0), ValueError,
         "weight_decay is 5.0, and LBFGS takes none, allowed: 0"),
        (lambda m, d: AutogradTrainingLoop(m).on("never", print), ValueError, 'there is no point "never"'),
        (lambda m, d: AutogradTrainingLoop(m, options={"epochs": "3"}), TypeError, "epochs is '3', allowed: an int"),
        (lambda m, d: AutogradTrainingLoop(m, options={"foo": 1}), TypeError, "no option foo, allowed: epochs, "),
        (lambda m, d: AutogradTrainingLoop(m, options={"epoch": 1}), TypeError, 'did you mean "epochs"'),
        (lambda m, d: ExponentialMovingAverage(m.parameters(), decay=2), ValueError, "Decay must be between 0 and 1"),
        (lambda m, d: AutogradHooks(m, patterns=3), TypeError, "object is not iterable"),
    ],
)
def test_bad_input(network, data, call, kind, message):
    with pytest.raises(kind, match=message):
        call(network(), data)


def test_an_exception_within_backward_comes_back(network, data):
    def broken(x):
        raise KeyError("slope")

    x = torch.randn(3, requires_grad=True)
    with pytest.raises((KeyError, RuntimeError), match="slope"):
        CustomAutogradFunction.activation(x, torch.tanh, broken).sum().backward()

    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        AutogradOptimizer(network()).step(lambda o, t: Broken.apply(o).sum(), *data)


def test_the_exception_point_is_told(network, data):
    told = []
    loop = AutogradTrainingLoop(network())
    loop.on("exception", lambda moment: told.append(moment.point))

    def broken(output, target):
        raise KeyError("mine")

    with pytest.raises(KeyError):
        loop.fit(batches(*data), broken)
    assert told == ["exception"]


class Stream(torch.utils.data.IterableDataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __iter__(self):
        return iter(zip(self.x, self.y, strict=True))


def test_loaders_without_a_length_and_without_a_trace_in_the_random_numbers(network, data):
    loader = torch.utils.data.DataLoader(Stream(*data), batch_size=20)
    assert len(AutogradTrainingLoop(network()).train_epoch(loader, functional.cross_entropy).losses) == 3
    dropout, by_hand = (nn.Sequential(nn.Dropout(0.5), network()) for _ in range(2))
    shuffled = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data), batch_size=20, shuffle=True)
    torch.manual_seed(3)
    losses = AutogradTrainingLoop(dropout, torch.optim.SGD, lr=0.1, weight_decay=0.0).train_epoch(
        shuffled, functional.cross_entropy
    )["losses"]
    torch.manual_seed(3)
    expected = train_by_hand(by_hand, torch.optim.SGD(by_hand.parameters(), lr=0.1), shuffled)
    assert losses == pytest.approx(expected, rel=1e-5)


def test_clipping_is_as_the_options_say_unless_the_call_does(network, data):
    free = AutogradOptimizer(network(), step_options={"clip": {"max_norm": 1e-4}})
    assert free.step(functional.cross_entropy, *data).grad_norm_clipped == pytest.approx(1e-4, rel=1e-2)
    clipped = free.step(functional.cross_entropy, *data, max_grad_norm=1e-3).grad_norm_clipped
    assert clipped == pytest.approx(1e-3, rel=1e-2)


def test_every_optimizer_class_gets_what_it_takes(network, data):
    stats = AutogradOptimizer(network(), torch.optim.Rprop, lr=0.01).step(functional.cross_entropy, *data)
    assert stats.lr == 0.01
    AutogradOptimizer(network(), torch.optim.LBFGS, lr=0.1).step(functional.cross_entropy, *data)


def test_averages_without_warm_up_and_buffers_survive_a_round_trip(network):
    model = nn.Sequential(network(), nn.BatchNorm1d(3))
    ema = ExponentialMovingAverage(model, decay=0.9, use_num_updates=False, use_buffers=True)
    model(torch.randn(8, 4))
    ema.update()
    other = ExponentialMovingAverage(model, decay=0.5, use_buffers=True)
    other.load_state_dict(ema.state_dict())
    assert ema.state_dict()["num_updates"] is None and other.state_dict()["num_updates"] is None
    for a, b in zip(ema.state_dict()["shadow_buffers"], other.state_dict()["shadow_buffers"], strict=True):
        assert torch.equal(a, b)


def test_an_iterator_can_be_gone_through_once(network, data):
    loop = AutogradTrainingLoop(network())
    once = iter(batches(*data))
    loop.train_epoch(once, functional.cross_entropy)
    with pytest.raises(ValueError, match="the training data has no batch"):  # a new call, and nothing left
        loop.train_epoch(once, functional.cross_entropy)
    with pytest.raises(ValueError, match="is an iterator and has been gone through"):
        AutogradTrainingLoop(network(), options={"epochs": 2}).fit(iter(batches(*data)), functional.cross_entropy)


def test_nan_losses_are_reported(network, data):
    x = data[0].clone()
    optimizer = AutogradOptimizer(network())
    x[3, 1] = math.nan
    stats = optimizer.step(functional.cross_entropy, x, data[1])
    assert stats.skipped and "inf or NaN" in str(stats.issues[0]) and stats.issues[0].rule == "nonfinite_gradient"
