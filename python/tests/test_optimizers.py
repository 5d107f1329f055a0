"""The optimizers of gradwise against torch's, under torch's own test cases."""

import copy
import pickle

import pytest
import torch
from torch.testing._internal.common_optimizers import optim_db

import gradwise

NAMES = ["AdamW", "SGD", "Adam", "RMSprop", "Adagrad"]
PAIRS = {name: (getattr(gradwise, name), getattr(torch.optim, name)) for name in NAMES}
MANNERS = {"foreach", "fused", "capturable", "differentiable"}


def cases():
    for info in optim_db:
        if info.optim_cls.__name__ in PAIRS:
            for given in info.optim_inputs_func(device="cpu"):
                options = {k: v for k, v in given.kwargs.items() if k not in MANNERS}
                yield pytest.param(info.optim_cls.__name__, options, id=f"{info.optim_cls.__name__}-{given.desc}")


def parameters(dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(5, 3), (7,), (), (0, 2), (2, 3, 4)]
    return [torch.randn(s, generator=generator, dtype=dtype).requires_grad_() for s in shapes]


def give_gradients(tensors, step):
    generator = torch.Generator().manual_seed(100 + step)
    for tensor in tensors:
        tensor.grad = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)


def assert_near(ours, theirs, tolerance=1e-12):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name, options", list(cases()))
def test_equals_torchs_over_200_steps(name, options):
    ours, theirs = PAIRS[name]
    a, b = parameters(), parameters()
    mine, torchs = ours(a, **options), theirs(b, **options)
    for step in range(200):
        give_gradients(a, step)
        give_gradients(b, step)
        mine.step()
        torchs.step()
    assert_near(a, b, 1e-7 if options.get("centered") else 1e-11)  # which subtracts squares
    assert not torch.equal(a[0], parameters()[0])


def test_lion_equals_its_formula():
    a, b = parameters(), parameters()
    mine = gradwise.Lion(a, lr=0.01, betas=(0.8, 0.95), weight_decay=0.1)
    moments = [torch.zeros_like(p) for p in b]
    for step in range(20):
        give_gradients(a, step)
        give_gradients(b, step)
        mine.step()
        with torch.no_grad():
            for p, m in zip(b, moments, strict=True):
                p.sub_(0.01 * ((0.8 * m + 0.2 * p.grad).sign() + 0.1 * p))
                m.mul_(0.95).add_(p.grad, alpha=0.05)
    assert_near(a, b)


LINES = {
    "AdamW": "exp_avg", "Adam": "max_exp_avg_sq", "SGD": "momentum_buffer", "RMSprop": "grad_avg", "Adagrad": "sum",
}  # fmt: skip


@pytest.mark.parametrize(
    "name, options",
    [
        ("AdamW", {"amsgrad": True}),
        ("Adam", {"amsgrad": True, "weight_decay": 0.1}),
        ("SGD", {"lr": 0.1, "momentum": 0.9}),
        ("RMSprop", {"centered": True, "momentum": 0.9}),
        ("Adagrad", {"lr_decay": 0.1}),
    ],
)
def test_state_goes_both_ways(name, options):
    ours, theirs = PAIRS[name]
    a = parameters()
    mine = ours(a, **options)
    for step in range(3):
        give_gradients(a, step)
        mine.step()
    b = [p.detach().clone().requires_grad_() for p in a]
    torchs = theirs(b, **options)
    torchs.load_state_dict(copy.deepcopy(mine.state_dict()))
    c = [p.detach().clone().requires_grad_() for p in a]
    for step in range(3, 6):
        for tensors, optimizer in ((a, mine), (b, torchs)):
            give_gradients(tensors, step)
            optimizer.step()
    assert_near(a, b)
    back = ours(c, **options)
    with torch.no_grad():
        for p, q in zip(c, b, strict=True):
            p.copy_(q)
    back.load_state_dict(copy.deepcopy(torchs.state_dict()))
    for tensors, optimizer in ((c, back), (b, torchs)):
        give_gradients(tensors, 9)
        optimizer.step()
    assert_near(c, b)
    for step in range(10, 13):  # what is saved after a load are the moments of now, not those that were loaded
        for tensors, optimizer in ((c, back), (b, torchs)):
            give_gradients(tensors, step)
            optimizer.step()
    assert_near(c, b)
    line = LINES[name]
    for index, saved in torchs.state_dict()["state"].items():
        torch.testing.assert_close(back.state_dict()["state"][index][line], saved[line])


def test_rates_groups_and_tensor_rates_may_change():
    a, b = parameters(), parameters()
    mine = gradwise.AdamW(a[:2], lr=torch.tensor(1e-2, dtype=torch.float64))
    torchs = torch.optim.AdamW(b[:2], lr=1e-2)
    for step in range(6):
        if step == 2:
            mine.param_groups[0]["lr"].fill_(5e-2)
            torchs.param_groups[0]["lr"] = 5e-2
        if step == 4:
            mine.add_param_group({"params": a[2:], "lr": 0.1})
            torchs.add_param_group({"params": b[2:], "lr": 0.1})
        give_gradients(a, step)
        give_gradients(b, step)
        mine.step()
        torchs.step()
    assert_near(a, b)


def test_works_with_a_scheduler_a_closure_and_the_grad_scaler():
    a, b = parameters(torch.float32), parameters(torch.float32)
    mine, torchs = gradwise.AdamW(a), torch.optim.AdamW(b)
    for tensors, optimizer in ((a, mine), (b, torchs)):
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
        scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
        for _ in range(5):
            optimizer.zero_grad()
            loss = sum((t**2).sum() for t in tensors)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            schedule.step()

        def closure(tensors=tensors, optimizer=optimizer):
            optimizer.zero_grad()
            loss = sum((t**2).sum() for t in tensors)
            loss.backward()
            return loss

        assert float(optimizer.step(closure)) > 0
    assert_near(a, b, 1e-5)


def test_clips_averages_and_measures_in_its_pass():
    a, b = parameters(), parameters()
    mine = gradwise.AdamW(a, max_grad_norm=0.5, ema_decay=0.9)
    torchs = torch.optim.AdamW(b)
    torch_ema = pytest.importorskip("torch_ema")
    average = torch_ema.ExponentialMovingAverage(b, decay=0.9)
    for step in range(20):
        give_gradients(a, step)
        give_gradients(b, step)
        before = [p.detach().clone() for p in b]
        mine.step()
        norm = torch.nn.utils.clip_grad_norm_(b, 0.5)
        torchs.step()
        average.update()
        assert mine.last_step.grad_norm == pytest.approx(float(norm))
        assert mine.last_step.clipped
        moved = torch.sqrt(sum(((p - q) ** 2).sum() for p, q in zip(b, before, strict=True)))
        assert mine.last_step.update_norm == pytest.approx(float(moved.detach()))
    assert_near(a, b)
    assert_near(mine.ema.shadow_params, average.shadow_params)


def test_a_step_that_is_not_finite_is_skipped():
    a = parameters()
    mine = gradwise.AdamW(a, max_grad_norm=1.0)
    before = [p.detach().clone() for p in a]
    give_gradients(a, 0)
    a[0].grad[0, 0] = float("nan")
    mine.step()
    assert mine.last_step.skipped and mine.last_step.update_norm == 0
    give_gradients(a, 1)
    mine.step()
    assert mine.last_step.update_norm > 0
    before = [p.detach().clone() for p in a]
    a[0].grad[0, 0] = float("inf")
    mine.step()
    assert mine.last_step.skipped and mine.last_step.update_norm == 0
    assert all(torch.equal(p, q) for p, q in zip(a, before, strict=True))


def test_can_be_pickled_and_copied():
    a = parameters()
    mine = gradwise.AdamW(a)
    give_gradients(a, 0)
    mine.step()
    restored = pickle.loads(pickle.dumps(mine))
    twin = copy.deepcopy(mine)
    for optimizer in (mine, restored, twin):
        tensors = optimizer.param_groups[0]["params"]
        give_gradients(tensors, 1)
        optimizer.step()
        assert_near(tensors, a)


def test_averages_belong_to_their_parameters():
    a = parameters()
    a[0].requires_grad_(False)
    mine = gradwise.AdamW(a, ema_decay=0.9)
    expected = [p.detach().clone() for p in a]
    for step in range(5):
        give_gradients(a[1:], step)
        if step == 3:
            a[1].grad = None  # not moved in this step, and averaged all the same
        mine.step()
        decay = min(0.9, (2 + step) / (11 + step))
        for average, p in zip(expected, a, strict=True):
            average.lerp_(p.detach(), 1 - decay)
    assert_near(mine.ema.shadow_params, expected)
    twin = copy.deepcopy(mine)
    assert_near(twin.ema.shadow_params, expected)
    mine.ema.to(dtype=torch.float32)  # no longer the weights' type: moves apart from the pass
    give_gradients(a[1:], 9)
    mine.step()
    assert mine.ema.shadow_params[0].dtype == torch.float32 and mine.ema.num_updates == 6


def test_a_module_may_change_its_type_and_an_option_in_mid_run():
    torch.manual_seed(0)
    ours, theirs = torch.nn.Linear(4, 3), torch.nn.Linear(4, 3)
    theirs.load_state_dict(ours.state_dict())
    mine = gradwise.SGD(ours.parameters(), lr=0.1)
    torchs = torch.optim.SGD(theirs.parameters(), lr=0.1)
    for step in range(6):
        if step == 2:
            ours.double()
            theirs.double()
        if step == 4:
            mine.param_groups[0]["momentum"] = torchs.param_groups[0]["momentum"] = 0.9
        for module, optimizer in ((ours, mine), (theirs, torchs)):
            give_gradients(list(module.parameters()), step)
            optimizer.step()
    assert_near(list(ours.parameters()), list(theirs.parameters()), 1e-6)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"lr": -1.0}, "lr is -1.0, allowed: >= 0"),
        ({"betas": (0.9, 1.0)}, r"betas\[1\] is 1.0"),
        ({"max_grad_norm": 0}, "max_grad_norm is 0, allowed: > 0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        gradwise.AdamW(parameters(), **options)


ONE_PASS = [gradwise.AdamW, gradwise.Adam, gradwise.SGD, gradwise.RMSprop, gradwise.Adagrad, gradwise.Lion]


@pytest.mark.parametrize("optimizer_class", ONE_PASS)
@pytest.mark.parametrize("named", [False, True])
def test_a_parameter_that_is_there_twice_is_refused_at_once(optimizer_class, named):
    weight, other = torch.nn.Parameter(torch.ones(2, 3)), torch.nn.Parameter(torch.ones(2))
    twice = [("a", weight), ("b", other), ("c", weight)] if named else [weight, other, weight]
    message = r"^parameters 0 and 2 of a group are one tensor, of shape \(2, 3\), allowed: once"
    for params in (twice, iter(twice), [{"params": twice}]):
        with pytest.raises(ValueError, match=message):
            optimizer_class(params)
    optimizer = optimizer_class([weight])
    with pytest.raises(ValueError, match="parameters 0 and 1 of a group are one tensor"):
        optimizer.add_param_group({"params": [other, other]})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize("optimizer_class", [torch.optim.AdamW, gradwise.AdamW])
def test_groups_that_share_a_parameter_are_refused_as_torch_does(optimizer_class):
    weight = torch.nn.Parameter(torch.ones(2, 3))
    with pytest.raises(ValueError, match="some parameters appear in more than one parameter group"):
        optimizer_class([{"params": [weight]}, {"params": [weight]}])
    with pytest.raises(TypeError, match="ordered collections"):
        optimizer_class([{"params": {weight}}])
    weight.requires_grad_(False)
    with pytest.warns(UserWarning, match="duplicate parameters"):
        optimizer = optimizer_class([weight, weight, torch.nn.Parameter(torch.ones(2))])
    optimizer.param_groups[0]["params"][2].sum().backward()
    optimizer.step()
    assert torch.equal(weight, torch.ones(2, 3))


def test_parameters_that_share_memory_are_refused():
    storage = torch.zeros(10)
    tensors = [storage[:6].requires_grad_(), storage[4:].requires_grad_()]
    mine = gradwise.AdamW(tensors)
    give_gradients(tensors, 0)
    with pytest.raises(gradwise.GradwiseError, match="parameters 0 and 1 share memory"):
        mine.step()


def test_refuses_the_state_of_another_rule():
    weights = [torch.nn.Parameter(torch.ones(3))]
    optimizer = gradwise.AdamW(weights)
    with pytest.raises(ValueError, match="group 0 of the state has no betas, eps, allowed: a state of AdamW"):
        optimizer.load_state_dict(torch.optim.SGD(weights, lr=0.1).state_dict())
    assert optimizer.param_groups[0]["lr"] == 1e-3
